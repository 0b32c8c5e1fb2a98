"""Scenes that somebody labelled, as the cubes hold them, and their pixels."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import shapely
from jaxtyping import UInt8
from shapely.geometry.base import BaseGeometry

from geostack_dagster import storage
from geostack_dagster.cube.slots import Slot
from geostack_dagster.cube.store import CubeStore
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.documents import read_mapping
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import NoDataError
from geostack_dagster.inference.enhancement import Calibration
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.chips import Chip, cut_there
from geostack_dagster.learning.labels import Caution, Label, pixel_states, rasterize, read_labels
from geostack_dagster.learning.scenes import WHOLE, Maps, PixelState, Scene
from geostack_dagster.pipeline import cube
from geostack_dagster.pipeline.enhancement import GROUP
from geostack_dagster.pipeline.labels import labels_during
from geostack_dagster.pipeline.methane.candidates import enhancement_of
from geostack_dagster.pipeline.plan import partition_dates
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace

MODEL_SOURCE = "model"
"""Labels whose source begins so were proposed by a model: they may teach, never judge."""
_ORBIT = re.compile(r"_\d{8}T\d{6}_(\d{7})_\d{3}")
_KEPT = 48  # whole scenes in memory: 13 bytes a pixel, 60 MB at 300 x 300
_SEASONS = ("DJF", "MAM", "JJA", "SON")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One day of a cube over one AOI, and what was said of it."""

    scene: Scene
    pipeline: str
    aoi: str
    day: date
    made_from: str
    """Fingerprint of the slot's pixels."""
    labels: tuple[Label, ...]

    @property
    def human(self) -> "Labelled":
        """The scene with what people and archives said alone."""
        kept = tuple(one for one in self.labels if not one.source.startswith(MODEL_SOURCE))
        return replace(self, labels=kept)

    @property
    def digest(self) -> str:
        """Of pixels and labels."""
        return fingerprint([self.made_from, [one.to_feature() for one in self.labels]])

    def to_json(self) -> dict[str, Any]:
        """JSON form; `of_json` reads it back."""
        scene = self.scene
        return {
            "id": scene.id,
            "acquired": scene.acquired.isoformat(),
            "orbit": scene.orbit,
            "crs": scene.crs,
            "transform": list(scene.transform),
            "shape": list(scene.shape),
            "tags": dict(scene.tags),
            "pipeline": self.pipeline,
            "aoi": self.aoi,
            "day": self.day.isoformat(),
            "made_from": self.made_from,
            "labels": [one.to_feature() for one in self.labels],
        }

    @classmethod
    def of_json(cls, stated: Mapping[str, Any]) -> "Labelled":
        """The scene that `to_json` wrote."""
        rows, columns = stated["shape"]
        a, b, c, d, e, f = stated["transform"]
        return cls(
            scene=Scene(
                id=stated["id"],
                acquired=datetime.fromisoformat(stated["acquired"]),
                orbit=stated["orbit"],
                crs=stated["crs"],
                transform=(a, b, c, d, e, f),
                shape=(rows, columns),
                tags=stated["tags"],
            ),
            pipeline=stated["pipeline"],
            aoi=stated["aoi"],
            day=date.fromisoformat(stated["day"]),
            made_from=stated["made_from"],
            labels=read_labels({"features": stated["labels"]}),
        )


def scenes_of(
    spec: PipelineSpec,
    workspace: Workspace,
    aoi: str,
    labels: Sequence[Label] | None,
    *,
    since: date | None = None,
) -> Iterator[Labelled]:
    """Days of a cube over an AOI that hold pixels, oldest first.

    Args:
        spec: The pipeline.
        workspace: Its state.
        aoi: A registered AOI.
        labels: Only days that one of them speaks of; None for all days.
        since: Only days from here on.
    """
    store = _store(spec, workspace, aoi)
    slots = [slot for slot in store.slots(GROUP) if slot.item_count]
    if not slots:
        return
    grid = store.schema(GROUP).grid
    place = _footprint(grid)
    near = None if labels is None else [one for one in labels if one.geometry.intersects(place)]
    longitude = workspace.pinned(aoi).aoi.centre[0]
    for slot in slots:
        if since is not None and slot.day < since:
            continue
        start, end = Window(slot.day, slot.day + timedelta(days=1)).utc(longitude)
        said = () if near is None else labels_during(near, start, end)
        if near is None or said:
            yield Labelled(
                scene=_scene(spec, workspace, aoi, slot, grid),
                pipeline=spec.name,
                aoi=aoi,
                day=slot.day,
                made_from=slot.fingerprint or "",
                labels=said,
            )


@dataclass(frozen=True, eq=False)
class CubeSource:
    """Pixels of scenes with what is known of each: a `learning.scenes.SceneSource`."""

    workspace: Workspace
    specs: Mapping[str, PipelineSpec]
    scenes: Mapping[str, Labelled]
    caution: Caution
    counted: Mapping[str, Sequence[Chip]] | None = None
    """Chips whose pixels count, by scene; what lies elsewhere becomes UNCERTAIN. None: all."""
    _kept: OrderedDict[str, Maps] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    def of(
        cls,
        workspace: Workspace,
        specs: Iterable[PipelineSpec],
        scenes: Iterable[Labelled],
        caution: Caution,
    ) -> "CubeSource":
        """A source of these scenes."""
        return cls(
            workspace,
            {spec.name: spec for spec in specs},
            {one.scene.id: one for one in scenes},
            caution,
        )

    def counting(self, chips: Iterable[Chip]) -> "CubeSource":
        """The same pixels, of which only those of the chips are known."""
        counted: dict[str, list[Chip]] = {}
        for chip in chips:
            counted.setdefault(chip.scene, []).append(chip)
        return replace(self, counted=counted, _kept=OrderedDict())

    def read(self, scene: str, rows: slice, columns: slice) -> Maps:
        """Maps of a window of a scene.

        Raises:
            NoDataError: If there is no such scene, or the cube does not hold it any more.
        """
        if scene not in self._kept:
            if scene not in self.scenes:
                raise NoDataError(f"no scene {scene} among those that somebody labelled")
            self._kept[scene] = self._whole(self.scenes[scene])
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(scene)
        return self._kept[scene].window(rows, columns)

    def _whole(self, one: Labelled) -> Maps:
        store = _store(self.specs[one.pipeline], self.workspace, one.aoi)
        day = store.open(GROUP).sel(time=np.datetime64(one.day)).load()
        found = enhancement_of(day, Calibration.ABSOLUTE, "", is_linear=False)
        enhancement, uncertainty, sensitivity = (
            layer.astype(np.float32)
            for layer in (found.enhancement, found.uncertainty, found.sensitivity)
        )
        marked = {state: rasterize(one.labels, one.scene, state) for state in State}
        states = pixel_states(
            marked, enhancement, uncertainty, reviewed=False, caution=self.caution
        )
        states[~np.isfinite(sensitivity)] = PixelState.UNOBSERVABLE
        return Maps(
            enhancement=enhancement,
            uncertainty=uncertainty,
            sensitivity=sensitivity,
            states=self._known(one.scene.id, states),
        )

    def _known(self, scene: str, states: UInt8[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x"]:
        if self.counted is None:
            return states
        outside = np.ones(states.shape, bool)
        for chip in self.counted.get(scene, ()):
            outside[chip.window] = False
        states[outside & (states != PixelState.UNOBSERVABLE)] = PixelState.UNCERTAIN
        return states


def whole(source: CubeSource, one: Labelled) -> Maps:
    """Maps of all of a scene."""
    return source.read(one.scene.id, WHOLE, WHOLE)


def _store(spec: PipelineSpec, workspace: Workspace, aoi: str) -> CubeStore:
    anywhere = Partition(spec.name, aoi, spec.start.isoformat(), spec.cadence)
    return cube.cube_store(spec, anywhere, workspace)


def _scene(spec: PipelineSpec, workspace: Workspace, aoi: str, slot: Slot, grid: Grid) -> Scene:
    noon = datetime.combine(slot.day, time(12), tzinfo=UTC)
    acquired = slot.acquired or noon
    return Scene(
        id=f"{spec.name}/{aoi}/{slot.day.isoformat()}",
        acquired=acquired,
        # Without a number all of a solar day stay together: no hour cuts an overpass in two.
        orbit=_orbit(spec, workspace, aoi, slot.day) or f"{spec.provider.slug}-{slot.day}",
        crs=grid.crs,
        transform=(grid.resolution, 0.0, grid.left, 0.0, -grid.resolution, grid.top),
        shape=(grid.height, grid.width),
        tags={"pipeline": spec.name, "season": _SEASONS[slot.day.month % 12 // 3]},
    )


def _orbit(spec: PipelineSpec, workspace: Workspace, aoi: str, day: date) -> str | None:
    """EMIT's number of the orbit, from the names of the day's granules."""
    key = partition_dates(Window(day, day + timedelta(days=1)), spec.cadence)[0]
    partition = Partition(spec.name, aoi, key, spec.cadence)
    url = workspace.layout.recipe(partition)
    try:
        recipe = read_mapping(storage.read_bytes(url), url, remedy="materialize the stack again")
    except FileNotFoundError:
        return None
    found = [
        match[1]
        for item in recipe["items"]
        if item["day"] == day.isoformat() and (match := _ORBIT.search(item["id"]))
    ]
    return min(found, default=None)


def _footprint(grid: Grid) -> BaseGeometry:
    """Rectangle of the grid in longitude and latitude, cut at the antimeridian as labels are."""
    outline = Scene(
        id="",
        acquired=datetime.now(UTC),
        orbit="",
        crs=grid.crs,
        transform=(grid.resolution, 0.0, grid.left, 0.0, -grid.resolution, grid.top),
        shape=(grid.height, grid.width),
    )
    corners = ((0, 0), (0, grid.width), (grid.height, grid.width), (grid.height, 0))
    return cut_there(shapely.Polygon([outline.position(row, column) for row, column in corners]))
