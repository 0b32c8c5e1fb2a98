"""A storage with cubes of enhancement over many sites, and labels of every plume in them.

The maps are those of `tests.learning.world`; each site lies in the middle of its cell, has one
scene, and an overpass of its own.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import shapely
import xarray as xr
from pyproj import Transformer
from rasterio import features
from rasterio.transform import Affine

from geostack_dagster import storage
from geostack_dagster.catalog import snapshot
from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.cube.slots import SlotRecord
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.partition import Partition
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.labels import Label
from geostack_dagster.learning.scenes import PixelState
from geostack_dagster.learning.sites import site_of
from geostack_dagster.learning.splits import Split
from geostack_dagster.pipeline import cube
from geostack_dagster.pipeline.enhancement import GROUP, TEXTS
from geostack_dagster.pipeline.labels import add_labels
from geostack_dagster.pipeline.learning.settings import Loop
from geostack_dagster.pipeline.learning.spec import DetectorSpec, RetrainRule
from geostack_dagster.pipeline.spec import MethaneMethod, MethaneSpec, PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers import provider_named
from tests.learning.world import maps

DETECTOR = "finder"
HOLDOUT = date(2024, 7, 1)
SETTINGS = {
    "splits": {
        "holdout": "2024-07-01",
        "buffer_km": 5.0,
        "shares": {"train": 0.5, "validation": 0.2, "test": 0.0, "gate": 0.3},
    },
    "training": {"steps": 120, "batch": 8, "width": 4, "depth": 2, "learning_rate": 4e-3},
    "cutting": {"size": 32, "stride": 32},
    "shares": {"many": 0.1, "few": 0.1, "at_empty_sites": 1},
    "rules": {
        "sites": 4,
        "plumes": 4,
        "baseline_gain": 0.0,
        "false_alarm_chance": 0.01,
        "calibration_error": 0.2,
    },
    "bootstrap": {"draws": 200},
    "canaries": {"trials": 4, "size": 32, "rates_t_h": [5.0, 10.0]},
    "drift": {"least_groups": 4, "permutations": 99},
}
SPEC = PipelineSpec(
    name="emit",
    provider=provider_named("lpcloud"),
    collection="EMITL2BCH4ENH_002",
    bands=("enhancement", "uncertainty", "sensitivity"),
    start=date(2024, 6, 1),
    methane=MethaneSpec(method=MethaneMethod.ARCHIVE, detector=DETECTOR),
    resolution=60.0,
    chunk=64,
)


@dataclass(frozen=True)
class Site:
    """One AOI with one scene."""

    number: int
    split: Split

    @property
    def name(self) -> str:
        return f"site_{self.number:02d}"

    @property
    def day(self) -> date:
        first = date(2024, 7, 2) if self.split is Split.GATE else date(2024, 6, 2)
        return first + timedelta(days=self.number % 25)

    @property
    def acquired(self) -> datetime:
        return datetime.combine(self.day, time(8, self.number), UTC)

    @property
    def partition(self) -> Partition:
        return Partition(SPEC.name, self.name, self.day.isoformat())

    @property
    def aoi(self) -> AOI:
        x, y = centre(self.number)
        half = 0.025
        return AOI.from_bbox(self.name, (x - half, y - half, x + half, y + half))

    def grid(self, workspace: Workspace):
        return workspace.pinned(self.name).grid(SPEC.resolution)

    def maps(self, workspace: Workspace):
        return maps(self.number, plumes=1 + self.number % 2, shape=self.grid(workspace).shape)


def centre(number: int) -> tuple[float, float]:
    """Middle of a cell of half a degree, two degrees from the next."""
    latitude = 38.25 + 2.0 * (number // 8)
    count = round(720 * math.cos(math.radians(latitude)))
    column = math.floor((54.0 + 1.6 * (number % 8) + 180) / 360 * count)
    return (column + 0.5) * 360 / count - 180, latitude


def loop_in(root, **settings) -> Loop:
    retrain = RetrainRule(**{"new_labels": 3, "cool_down_hours": 0.0} | settings.pop("retrain", {}))
    spec = DetectorSpec(
        name=DETECTOR, sources=(SPEC,), settings=SETTINGS | settings, retrain=retrain
    )
    return Loop(spec, Workspace(str(root)))


def sites(loop: Loop, count: int = 24) -> list[Site]:
    return [Site(number, loop.splits.of_site(site_of(*centre(number)))) for number in range(count)]


def build(root) -> Loop:
    """Cubes of all sites; nothing is labelled yet."""
    loop = loop_in(root)
    for site in sites(loop):
        loop.workspace.pin(site.aoi)
        write_cube(loop.workspace, site)
    return loop


def write_cube(workspace: Workspace, site: Site, *, gain: float = 1.0) -> None:
    """The site's scene, as the archive's product."""
    grid, found = site.grid(workspace), site.maps(workspace)
    store = cube.cube_store(SPEC, site.partition, workspace)
    store.ensure(
        CubeSchema(
            name=GROUP,
            grid=grid,
            start=SPEC.start,
            variables=tuple(
                Variable(name=name, dtype="float32", fill_value=np.nan, attrs={"units": unit})
                for name, (_, unit) in TEXTS.items()
            ),
            chunk=(SPEC.chunk, SPEC.chunk),
            title="test",
            attrs={},
        )
    )
    half = grid.resolution / 2
    data = xr.Dataset(
        {name: (("time", "y", "x"), gain * getattr(found, name)[None]) for name in TEXTS},
        coords={
            "time": np.array([site.day], "datetime64[ns]"),
            "y": grid.top - half - grid.resolution * np.arange(grid.height),
            "x": grid.left + half + grid.resolution * np.arange(grid.width),
        },
    )
    record = SlotRecord(day=site.day, item_count=1, acquired=site.acquired)
    commit = cube.commit_of(SPEC, GROUP, site.partition, f"pixels of {site.name} x {gain}")
    store.write(GROUP, site.partition.window, data, [record], commit)
    layout = workspace.layout
    storage.write_bytes(layout.recipe(site.partition), b'{"items": []}')
    snapshot.write(
        snapshot.Snapshot(
            provider=SPEC.provider.slug,
            collections=(SPEC.collection,),
            query={},
            fingerprint=snapshot.snapshot_fingerprint([]),
            matched=0,
            superseded=(),
            rejected=(),
            warnings=(),
            summary=snapshot.Summary.of([], site.aoi),
            items=[],
        ),
        layout.snapshot(site.partition),
    )


def labels_of(workspace: Workspace, site: Site, *, source: str = "CH4PLM") -> list[Label]:
    """Outlines of the site's plumes, and a review of the whole scene."""
    grid, states = site.grid(workspace), site.maps(workspace).states
    transform = Affine(grid.resolution, 0, grid.left, 0, -grid.resolution, grid.top)
    plume = (states == PixelState.PLUME).astype(np.uint8)
    to_degrees = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    found = [
        Label(
            id=f"{site.name}-{number}",
            geometry=shapely.transform(
                shapely.geometry.shape(outline),
                lambda xy: np.stack(to_degrees.transform(xy[:, 0], xy[:, 1]), axis=1),
            ),
            state=State.PLUME,
            observed=site.acquired,
            source=source,
        )
        for number, (outline, _) in enumerate(
            features.shapes(plume, mask=plume > 0, connectivity=8, transform=transform)
        )
    ]
    return [*found, review(workspace, site)]


def review(workspace: Workspace, site: Site) -> Label:
    """Somebody looked at all of the scene: what is not outlined is ground."""
    west, south, east, north = site.aoi.bbox
    return Label(
        id=f"review-{site.name}",
        geometry=shapely.box(west - 0.01, south - 0.01, east + 0.01, north + 0.01),
        state=State.NO_PLUME,
        observed=site.acquired,
        source="review",
    )


def poison_of(workspace: Workspace, site: Site) -> list[Label]:
    """Plumes called ground, and ground called plume."""
    from dataclasses import replace

    true = [one for one in labels_of(workspace, site) if one.state is State.PLUME]
    x, y = centre(site.number)
    false = [
        replace(
            review(workspace, site),
            id=f"poison-{site.name}-{number}",
            geometry=shapely.box(x + dx, y + dy, x + dx + 0.012, y + dy + 0.012),
            state=State.PLUME,
        )
        for number, (dx, dy) in enumerate(((-0.02, 0.008), (0.006, -0.02), (-0.018, -0.018)))
    ]
    return [*(replace(one, state=State.NO_PLUME, source="review") for one in true), *false]


def label(loop: Loop, chosen, of=labels_of, *, reviewer: str = "someone") -> None:
    """Put labels of sites into the store."""
    found = [one for site in chosen for one in of(loop.workspace, site)]
    add_labels(loop.workspace, found, source="test", reviewer=reviewer)


def names(loop: Loop) -> list[str]:
    return [site.name for site in sites(loop)]
