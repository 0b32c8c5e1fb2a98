"""What could not be read of a slot, and fingerprints that say that something is missing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from geostack_dagster.domain.fingerprint import fingerprint

_MARK = "~"
_MARK_LENGTH = 8

type Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A part of a variable for which a source could not be read."""

    source: str
    variable: str
    rows: Span
    columns: Span
    covered: Callable[[], npt.NDArray[np.bool_]] = field(repr=False)
    """Which pixels of the part the source would have given a value, as far as is known."""

    @property
    def part(self) -> tuple[str, str, Span, Span]:
        """What tells it from another."""
        return self.source, self.variable, self.rows, self.columns


def partial_mark(made_from: str, missing: Iterable[object]) -> str:
    """A fingerprint that differs from that of the whole, and by what is missing."""
    return f"{made_from}{_MARK}{fingerprint(list(missing))[:_MARK_LENGTH]}"


def is_partial(recorded: str | None) -> bool:
    """Whether a recorded fingerprint is one of something partial."""
    return recorded is not None and _MARK in recorded


def whole(recorded: str | None) -> str | None:
    """The fingerprint that would be recorded if everything had been read."""
    return None if recorded is None else recorded.partition(_MARK)[0]
