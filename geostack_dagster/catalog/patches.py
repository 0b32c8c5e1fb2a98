"""What the columns of a table cannot say about a document, as small patches.

A column has one type, and one kind of nothing: it cannot tell null from absent, "72" from 72, or a
date written as `+00:00` from one written as `Z`. A patch is a list of `[path, value]` (set it) and
`[path]` (remove it); most documents need none, and those that do mostly share a few.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

type Patch = list[list[Any]]


def difference(wanted: Any, found: Any) -> Patch:
    """The patch that turns `found` into `wanted`; empty when they are equal."""
    patch: Patch = []
    _collect(wanted, found, (), patch)
    return patch


def apply(patch: Patch, document: dict[str, Any]) -> None:
    """Change `document` as the patch says."""
    for path, *value in patch:
        holder: Any = document
        for step in path[:-1]:
            holder = holder[step]
        if value:
            holder[path[-1]] = value[0]
        else:
            del holder[path[-1]]


@dataclass(slots=True)
class Patches:
    """Patches of the rows of a table; rows that share a patch share one entry."""

    texts: list[str] = field(default_factory=list)
    rows: dict[int, int] = field(default_factory=dict)
    _known: dict[str, int] = field(default_factory=dict)

    def add(self, row: int, patch: Patch) -> None:
        """Remember the patch of a row."""
        text = json.dumps(patch, separators=(",", ":"))
        if text not in self._known:
            self._known[text] = len(self.texts)
            self.texts.append(text)
        self.rows[row] = self._known[text]

    def restore(self, documents: Iterable[dict[str, Any]], first_row: int) -> None:
        """Patch documents of consecutive rows in place."""
        if not self.rows:
            return
        for row, document in enumerate(documents, first_row):
            index = self.rows.get(row)
            if index is not None:
                # Parsed anew each time: patched documents must not share mutable values.
                apply(json.loads(self.texts[index]), document)

    def encode(self) -> bytes:
        """Compact form for a file footer; empty when there is nothing to patch."""
        if not self.rows:
            return b""
        runs: list[list[int]] = []  # [first row, count, patch]
        for row, index in self.rows.items():
            if runs and runs[-1][2] == index and sum(runs[-1][:2]) == row:
                runs[-1][1] += 1
            else:
                runs.append([row, 1, index])
        document = json.dumps({"patches": self.texts, "runs": runs}, separators=(",", ":"))
        return base64.b64encode(zlib.compress(document.encode()))

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Patches written by `encode`."""
        if not encoded:
            return cls()
        document = json.loads(zlib.decompress(base64.b64decode(encoded)))
        rows = {
            row: index
            for first, count, index in document["runs"]
            for row in range(first, first + count)
        }
        return cls(document["patches"], rows)


def _collect(wanted: Any, found: Any, path: tuple[str | int, ...], patch: Patch) -> None:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for name, value in wanted.items():
            if name not in found:
                patch.append([[*path, name], value])
            elif value != found[name]:
                _collect(value, found[name], (*path, name), patch)
        patch.extend([[*path, name]] for name in found if name not in wanted)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (value, other) in enumerate(zip(wanted, found, strict=True)):
            if value != other:
                _collect(value, other, (*path, index), patch)
    else:
        patch.append([list(path), wanted])
