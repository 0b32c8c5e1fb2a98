"""Sentences about what is odd in an Item, each said once for all the things it is true of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_LISTED = 6


@dataclass(slots=True)
class Findings:
    """Collects remarks; equal remarks about several assets become one sentence."""

    _about: dict[str, list[str]] = field(default_factory=dict)

    def add(self, sentence: str) -> None:
        """A remark about the Item as a whole."""
        self._about.setdefault(sentence, [])

    def of(self, name: str, sentence: str) -> None:
        """A remark about one asset or band."""
        names = self._about.setdefault(sentence, [])
        if name not in names:
            names.append(name)

    def extend(self, sentences: Iterable[str]) -> None:
        """Several remarks about the Item."""
        for sentence in sentences:
            self.add(sentence)

    def sentences(self) -> tuple[str, ...]:
        """All remarks, those about assets led by the names: `B01, B02 and 9 more: ...`."""
        return tuple(self._rendered())

    def _rendered(self) -> Iterator[str]:
        for sentence, names in self._about.items():
            if not names:
                yield sentence
                continue
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            yield f"{', '.join(names[:_LISTED])}{more}: {sentence}"
