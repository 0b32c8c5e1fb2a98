"""Pixels wanted of one file: the common currency of plans, decoders and the fallback."""

from dataclasses import dataclass, field

from geostack_dagster.stack.reader.codec import Raw
from geostack_dagster.stack.reader.window import Window


@dataclass(frozen=True, slots=True, eq=False)
class Want:
    """Fill `out` with a window of one level and 0-based band; its type is the level's."""

    level: int
    window: Window
    band: int
    out: Raw = field(repr=False)
