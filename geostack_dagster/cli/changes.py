"""What changed between two looks at a storage folder: slots and chunks of cubes, other files."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SLOT = re.compile(r"([^/]+)/[^/]+/c/(\d+)(/.+)?")
"""Group, slot and place of a chunk of a cube."""
_DAY = re.compile(r"([^/]+)/days/([0-9-]{10})/zarr\.json")
"""Group and day of the bookkeeping of swaths."""
_AXES = ("time/", "y/", "x/")

type Place = tuple[str, str, str]
"""Pipeline, AOI and date."""


@dataclass(frozen=True, slots=True)
class State:
    """A storage folder at one moment."""

    tips: dict[Path, str]
    """Newest snapshot of every repository."""
    files: dict[Path, str]
    """Digest of every other artefact of a partition."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What became another: bytes, not times of writing."""

    places: frozenset[Place]
    commits: int
    slots: int
    chunks: int
    """Of pixels; bookkeeping is counted by slots."""
    files: int


def look(storage: Path) -> State:
    """The state of every pipeline below a folder."""
    from geostack_dagster.cube.store import open_store

    cubes = sorted(path for path in storage.glob("*/cubes/*") if path.is_dir())
    kinds = ("snapshots", "recipes", "published")
    files = (path for kind in kinds for path in sorted(storage.glob(f"*/{kind}/**/*.*")))
    return State(
        tips={path: open_store(str(path)).history(1)[0].snapshot or "" for path in cubes},
        files={path: _digest(path) for path in files if path.is_file()},
    )


def between(storage: Path, before: State, after: State) -> Changes:
    """What is not the same in both; a repository without a new commit is not read."""
    moved = [path for path, tip in after.tips.items() if before.tips.get(path) != tip]
    paths = before.files.keys() | after.files.keys()
    files = [path for path in paths if before.files.get(path) != after.files.get(path)]
    keys = [(path, *key) for path in moved for key in _keys(path, before.tips.get(path))]
    slots = {(path, group, day) for path, group, day, _ in keys if day}
    return Changes(
        places=frozenset(
            {(path.parts[-3], path.name, day) for path, _, day in slots}
            | {_place(path.relative_to(storage)) for path in files}
        ),
        commits=sum(_commits(path, before.tips.get(path)) for path in moved),
        slots=len(slots),
        chunks=sum(is_pixels for *_, is_pixels in keys),
        files=len(files),
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _place(path: Path) -> Place:
    """Of `pipeline/kind/aoi/date.suffix` or `pipeline/published/product/aoi/date/file`."""
    pipeline, kind, *rest = path.parts
    aoi, date = rest[1:3] if kind == "published" else rest[:2]
    return pipeline, aoi, date.partition(".")[0]


def _commits(path: Path, since: str | None) -> int:
    from itertools import takewhile

    from geostack_dagster.cube.store import open_store

    history = open_store(str(path)).history()
    return sum(1 for _ in takewhile(lambda entry: entry.snapshot != since, history))


def _keys(path: Path, since: str | None) -> Iterator[tuple[str, str | None, bool]]:
    """Group, day, and whether it holds pixels, of each chunk whose bytes are not what they were.

    Chunks of swaths name no day: that of their granule is named by the day's own document.
    """
    from geostack_dagster.cube.store import backend_of
    from geostack_dagster.cube.template import read

    backend = backend_of(str(path))
    now = backend.reader()
    old = backend.reader(since).everything() if since else {}
    new = now.everything()
    cubes = {found[1] for key in new if (found := _SLOT.fullmatch(key))}
    days = {group: read(now, group).schema.day for group in cubes}
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) == new.get(key):
            continue
        group, _, rest = key.partition("/")
        if slot := _SLOT.fullmatch(key):
            if not rest.startswith(_AXES):
                yield group, days[group](int(slot[2])).isoformat(), slot[3] is not None
        elif swath := _DAY.fullmatch(key):
            yield group, swath[2], False
        elif "/c/" in key:
            yield group, None, True
