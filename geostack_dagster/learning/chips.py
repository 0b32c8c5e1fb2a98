"""Chips: windows of scenes to learn from, and what is known of each.

A chip names a window. Pixels stay where they are, in the cubes, until a training reads them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import shapely
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from geostack_dagster.domain.antimeridian import cut
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.labels import Label
from geostack_dagster.learning.scenes import Maps, PixelState, Scene
from geostack_dagster.learning.sites import site_of

_DIGEST = 20  # hexadecimal digits, as fingerprints have


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One window of one scene, and what is known of it."""

    scene: str
    orbit: str
    acquired: datetime
    longitude: float
    latitude: float
    """Of its centre."""
    corners: tuple[tuple[float, float], ...]
    """Longitude and latitude; a window across the antimeridian goes on beyond 180."""
    row: int
    column: int
    size: int
    """Rows, and columns [pixels]."""
    state: State
    content: str
    """Digest of its pixels and labels: what changes is another chip to learn."""
    weight: float = 1.0
    """How often it is drawn, relative to others of its state; 0 is never."""
    injected: int = 0
    """0 as observed; n > 0 for the n-th synthetic plume in the same window."""
    plumes: tuple[str, ...] = ()
    """Ids of the plumes that reach into it."""
    observed_fraction: float = 1.0
    plume_fraction: float = 0.0

    @property
    def id(self) -> str:
        """Name: scene, first row and column, and which injection."""
        suffix = f"+{self.injected}" if self.injected else ""
        return f"{self.scene}/{self.row}-{self.column}{suffix}"

    @property
    def site(self) -> str:
        """Cell of its centre."""
        return site_of(self.longitude, self.latitude)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns in its scene."""
        rows = slice(self.row, self.row + self.size)
        return rows, slice(self.column, self.column + self.size)

    @property
    def teaches(self) -> bool:
        """Whether anything can be learnt from it: a plume, or ground known to be free of them."""
        return self.weight > 0 and self.state in (State.PLUME, State.NO_PLUME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How scenes are cut into chips."""

    size: int = 64
    stride: int = 64
    observed_fraction: float = 0.5
    """Least part with a value; less is UNOBSERVABLE."""
    known_fraction: float = 0.5
    """Least part of what is observed that must be known to be free for NO_PLUME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionShares:
    """Part of the positive chips of a site that is synthetic, by how many real ones it has."""

    many: float = 0.1
    few: float = 0.7
    enough: int = 5
    """More real ones than this are many."""
    at_empty_sites: int = 4
    """Synthetic ones at a site without a real one."""


def index_scene(
    scene: Scene, maps: Maps, labels: Sequence[Label] = (), cutting: Cutting | None = None
) -> list[Chip]:
    """Chips of one scene, those that teach nothing included.

    Args:
        scene: Identity and place.
        maps: All of the scene.
        labels: Chips carry the ids of those plumes that reach into them.
        cutting: `Cutting()` if None.
    """
    cutting = cutting or Cutting()
    plumes = [label for label in labels if label.state is State.PLUME]
    return [
        _chip(scene, maps, (row, column), plumes, cutting)
        for row in _starts(scene.shape[0], cutting)
        for column in _starts(scene.shape[1], cutting)
    ]


def with_injections(chips: Iterable[Chip], shares: InjectionShares | None = None) -> list[Chip]:
    """The chips, and synthetic ones in windows known to be free of plumes.

    Each site gets what its real plumes are short of, in windows chosen by hash: the same chips
    give the same result in any order.
    """
    shares = shares or InjectionShares()
    ordered = sorted(chips, key=lambda chip: chip.id)
    sites: dict[str, list[Chip]] = {}
    for chip in ordered:
        if chip.teaches and not chip.injected:
            sites.setdefault(chip.site, []).append(chip)
    return ordered + [new for found in sites.values() for new in _injections(found, shares)]


def index_digest(chips: Iterable[Chip]) -> str:
    """Fingerprint of what chips teach: their order does not matter, their pixels and labels do."""
    return fingerprint(
        sorted([chip.id, chip.content, chip.state.value, chip.weight] for chip in chips)
    )


def content_digest(maps: Maps) -> str:
    """Digest of pixels and labels, to the bit."""
    found = hashlib.sha256(np.ascontiguousarray(maps.channels))
    found.update(np.ascontiguousarray(maps.states))
    return found.hexdigest()[:_DIGEST]


def cut_there(outline: shapely.Polygon) -> BaseGeometry:
    """An outline whose longitudes stay within +-180, as those of labels do."""
    return shape(dict(cut("a window", mapping(outline))))


def _starts(length: int, cutting: Cutting) -> list[int]:
    """Regular starts, and one flush with the far edge; none if the scene is smaller than a chip."""
    last = length - cutting.size
    regular = list(range(0, last + 1, cutting.stride))
    return regular if not regular or regular[-1] == last else [*regular, last]


def _chip(
    scene: Scene, maps: Maps, start: tuple[int, int], plumes: Sequence[Label], cutting: Cutting
) -> Chip:
    row, column = start
    size = cutting.size
    part = maps.window(slice(row, row + size), slice(column, column + size))
    longitude, latitude = scene.position(row + size / 2, column + size / 2)
    corners = _corners(scene, row, column, size)
    outline = cut_there(shapely.Polygon(corners))
    return Chip(
        scene=scene.id,
        orbit=scene.orbit,
        acquired=scene.acquired,
        longitude=longitude,
        latitude=latitude,
        corners=corners,
        row=row,
        column=column,
        size=size,
        state=_state(part, cutting),
        content=content_digest(part),
        plumes=tuple(sorted(label.id for label in plumes if label.geometry.intersects(outline))),
        observed_fraction=float((part.states != PixelState.UNOBSERVABLE).mean()),
        plume_fraction=float((part.states == PixelState.PLUME).mean()),
    )


def _state(part: Maps, cutting: Cutting) -> State:
    observed = part.states != PixelState.UNOBSERVABLE
    if observed.mean() < cutting.observed_fraction:
        return State.UNOBSERVABLE
    if (part.states == PixelState.PLUME).any():
        return State.PLUME
    known = (part.states == PixelState.NO_PLUME).sum() / observed.sum()
    return State.NO_PLUME if known >= cutting.known_fraction else State.UNCERTAIN


def _corners(scene: Scene, row: int, column: int, size: int) -> tuple[tuple[float, float], ...]:
    found = [
        scene.position(row + down, column + right)
        for down, right in ((0, 0), (size, 0), (size, size), (0, size))
    ]
    west = found[0][0]
    return tuple((west + (x - west + 180) % 360 - 180, y) for x, y in found)


def _injections(site: Sequence[Chip], shares: InjectionShares) -> list[Chip]:
    real = sum(chip.state is State.PLUME for chip in site)
    empty = sorted(
        (chip for chip in site if chip.state is State.NO_PLUME),
        key=lambda chip: fingerprint(["injection", chip.id]),
    )
    share = shares.many if real > shares.enough else shares.few
    wanted = round(real * share / (1 - share)) if real else shares.at_empty_sites
    return [
        replace(
            empty[number % len(empty)],
            state=State.PLUME,
            injected=1 + number // len(empty),
        )
        for number in range(wanted if empty else 0)
    ]
