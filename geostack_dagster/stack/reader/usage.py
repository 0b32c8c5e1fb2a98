"""One band of one file on one grid, and how its pixels get there."""

from dataclasses import dataclass, field

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.loader.types import RasterLoadParams

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.stack.reader.codec import Raw
from geostack_dagster.stack.reader.finish import Frame, Marking, gather, warp
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.placement import Placement
from geostack_dagster.stack.reader.rule import SourceRule
from geostack_dagster.stack.reader.want import Want
from geostack_dagster.stack.reader.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is asked of a file.

    `out`, of the grid's shape and the type asked for, is filled in place where that saves a copy.
    """

    band: int
    """1-based."""
    grid: GeoBox
    cfg: RasterLoadParams
    rule: SourceRule = field(default_factory=SourceRule)
    out: Raw | None = field(default=None, repr=False)

    def check(self, header: Header) -> None:
        """Make sure that the file has the band.

        Raises:
            ConfigurationError: If it has fewer.
        """
        if not 1 <= self.band <= header.main.samples:
            raise ConfigurationError(
                f"band {self.band} was asked for; the file has {header.main.samples}"
            )


@dataclass(frozen=True, slots=True)
class Reached:
    """Pixels of the part of a grid that a source reaches."""

    part: Window
    pixels: Raw = field(repr=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """A usage on its way: its placement, and the memory its tiles go to."""

    usage: Usage
    placement: Placement
    pixels: Raw = field(repr=False)

    @classmethod
    def of(cls, usage: Usage, placement: Placement, header: Header) -> "Draft":
        """Room for the window: the destination itself where a plain paste allows it."""
        dtype = np.dtype(header.levels[placement.level].dtype)
        out = usage.out
        pasted = placement.map is None and not placement.kernel
        if pasted and out is not None and out.dtype == dtype:
            return cls(usage, placement, out[placement.part.slices])
        return cls(usage, placement, np.empty(placement.window.shape, dtype))

    def want(self) -> Want:
        """What the file has to deliver."""
        return Want(self.placement.level, self.placement.window, self.usage.band - 1, self.pixels)

    def finish(self, header: Header) -> Reached:
        """The pixels of the grid's part."""
        usage, placement = self.usage, self.placement
        marking = Marking.of(header, usage.cfg, usage.rule)
        calibrate = usage.rule.calibrate
        if placement.kernel:
            window = placement.window
            shift = Affine.translation(window.left, window.top)
            frame = Frame(
                place=header.level_transform(placement.level) * shift,
                crs=header.crs or usage.rule.crs or "",
                part=usage.grid[placement.part.slices],
                resampling=usage.cfg.resampling,
            )
            found = warp(self.pixels, frame, marking, calibrate)
        else:
            found = gather(self.pixels, placement, marking, calibrate)
        if usage.out is not None:
            target = usage.out[placement.part.slices]
            if not np.may_share_memory(found, target):
                np.copyto(target, found)
            found = target
        return Reached(placement.part, found)


def nothing(usage: Usage) -> Reached:
    """The answer of a source that does not reach the grid."""
    return Reached(Window(0, 0, 0, 0), np.empty((0, 0), usage.cfg.dtype or "float32"))
