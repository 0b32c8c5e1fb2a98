"""What an archive's twin lists and holds, asked of it by other means than a pipeline's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import httpx
import numpy as np
import rasterio
from rasterio.windows import Window

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.grid import Grid
from geostack_dagster.sandbox import Sandbox

ARCHIVE, COLLECTION = "earth_search", "sentinel-2-l2a"
ITEMS = f"https://earth-search.aws.element84.com/v1/collections/{COLLECTION}/items"
BANDS = {"B04": "red", "B08": "nir", "SCL": "scl"}
"""Bands and the keys of their assets."""
FILL = 0
SCALE, OFFSET = 1e-4, -0.1
"""How the cube stores reflectance."""


@dataclass(frozen=True)
class Scene:
    """One Item, and what a cube should store of it."""

    id: str
    day: date
    rank: tuple[Any, ...]
    """The greatest of an acquisition is kept: newest baseline, then newest processing."""
    pixels: Mapping[str, np.ndarray] = field(repr=False, compare=False)


class Archive:
    """Earth Search's scenes of one tile over an AOI; a process must be in the sandbox."""

    def __init__(self, sandbox: Sandbox, aoi: AOI, tile: str) -> None:
        self._control = sandbox.control
        self._tile = tile
        self.grid = Grid.covering(aoi, crs="EPSG:32632", resolution=10)
        self._scenes: dict[str, Scene] = {}

    def listed(self) -> set[str]:
        """Ids."""
        return self._named(self._control.listed())

    def publish(self, name: str) -> None:
        """List a scene that was not listed."""
        self._control.arrive(name)
        self.scene(name)

    def withdraw(self, name: str) -> None:
        """Take a scene and its files away."""
        self._control.withdraw(name)

    def reprocess(self, name: str, baseline: str) -> str:
        """List another processing beside a scene; its id."""
        made = self._control.reprocess(name, baseline)
        self.scene(made)
        return made

    def copy(self, name: str, day: date) -> str:
        """A scene of another day, with files of its own, which is not listed yet; its id."""
        text, old = httpx.get(f"{ITEMS}/{name}").text, day_of(name)
        for form in ("%Y%m%d", "%Y-%m-%d"):
            text = text.replace(f"{old:{form}}", f"{day:{form}}")
        item = httpx.Response(200, text=text).json()
        self._control.publish(ARCHIVE, [item])
        self.withdraw(item["id"])
        return str(item["id"])

    def scene(self, name: str) -> Scene:
        """A scene that is listed, or was when it was first asked for: what has an id stays."""
        if name not in self._scenes:
            answer = httpx.get(f"{ITEMS}/{name}")
            assert answer.status_code == 200, answer
            self._scenes[name] = self._read(answer.json())
        return self._scenes[name]

    def _read(self, item: Mapping[str, Any]) -> Scene:
        facts, name = item["properties"], str(item["id"])
        baseline = float(facts["s2:processing_baseline"])
        # Its pixels are without offset: it was subtracted, or a processor before 04.00 added none.
        assert facts["earthsearch:boa_offset_applied"] or baseline < 4
        return Scene(
            id=name,
            day=day_of(name),
            rank=(baseline, facts["s2:generation_time"], facts["updated"], name),
            pixels={
                band: self._stored(item["assets"][key]["href"], band) for band, key in BANDS.items()
            },
        )

    def _stored(self, href: str, band: str) -> np.ndarray:
        with rasterio.open(f"/vsicurl/{href}") as file:
            raw = _nearest(file, self.grid)
        if band == "SCL":
            return raw
        coded = np.round((raw * SCALE - OFFSET) / SCALE).astype(np.uint16)
        return np.where(raw == 0, FILL, coded).astype(np.uint16)

    def _named(self, entries: Sequence[Mapping[str, str]]) -> set[str]:
        return {
            one["id"] for one in entries if one["archive"] == ARCHIVE and self._tile in one["id"]
        }


def day_of(name: str) -> date:
    """The day in an Item's id."""
    return date.fromisoformat(name.split("_")[2])


def ndvi(pixels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Index of what a cube stores, NaN where the scene class is not one of clear ground."""
    red, nir = (pixels[band].astype(np.float64) * SCALE + OFFSET for band in ("B04", "B08"))
    clear = np.isin(pixels["SCL"], (4, 5, 6, 7, 11))
    seen = (pixels["B04"] != FILL) & (pixels["B08"] != FILL)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(clear & seen, (nir - red) / (nir + red), np.nan)


def _nearest(file: rasterio.DatasetReader, grid: Grid) -> np.ndarray:
    """Pixels of a file in which the centres of the grid's pixels lie."""
    size, half = file.transform.a, grid.resolution / 2
    xs = grid.left + half + grid.resolution * np.arange(grid.width)
    ys = grid.top - half - grid.resolution * np.arange(grid.height)
    columns = np.floor((xs - file.transform.c) / size).astype(int)
    rows = np.floor((file.transform.f - ys) / size).astype(int)
    window = Window(columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    found = file.read(1, window=window)
    return found[np.ix_(rows - rows[0], columns - columns[0])]
