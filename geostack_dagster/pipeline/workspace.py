"""Where a project keeps its state, and the AOIs it knows."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geostack_dagster import storage
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.grid import Grid, choose_crs
from geostack_dagster.domain.partition import Layout
from geostack_dagster.engine import Engine
from geostack_dagster.errors import ConfigurationError, ConflictError


@dataclass(frozen=True, slots=True)
class Pin:
    """A registered AOI: its geometry and CRS are fixed, so every cube over it stays on one grid."""

    aoi: AOI
    crs: str

    def grid(self, resolution: float, crs: str | None = None, *, margin_m: float = 0.0) -> Grid:
        """The grid of a pipeline over this AOI, and so much ground around it [m]."""
        grid = Grid.covering(self.aoi, crs=crs or self.crs, resolution=resolution)
        return grid.expanded(margin_m) if margin_m else grid


@dataclass(frozen=True, slots=True)
class Workspace:
    """A storage root (folder or bucket URL) with snapshots, recipes, cubes, products and pins."""

    root: str
    settings: Settings = field(default_factory=Settings)
    """Credentials given in code or by a Dagster resource, before the environment is looked at."""
    engine: Engine = field(default_factory=Engine)
    """Where cubes are computed: threads of this process, or a Dask cluster."""

    @property
    def layout(self) -> Layout:
        """Where each artefact lives."""
        return Layout(self.root.rstrip("/"))

    def pin(self, aoi: AOI, *, crs: str | None = None) -> Pin:
        """Register an AOI, or confirm that it is registered as it is.

        Raises:
            ConfigurationError: If no CRS fits it, or an AOI of that name is registered with another
                geometry or CRS.
        """
        asked, url = AOI(aoi.name, aoi.geometry, crs or aoi.crs), self.layout.pin(aoi.name)
        if not storage.exists(url):
            pin = Pin(asked, choose_crs(asked))
            document = {"name": aoi.name, "geometry": aoi.geometry, "crs": pin.crs}
            with suppress(ConflictError):  # another caller was first
                storage.swap_bytes(url, json.dumps(document, indent=1).encode(), expected=None)
        known = self.pinned(aoi.name)
        _require_same(known, asked)
        return known

    def pins(self) -> list[str]:
        """Names of all registered AOIs, in order."""
        folder = self.layout.pin("").rpartition("/")[0]
        names = sorted(storage.listing(folder))
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def pinned(self, name: str) -> Pin:
        """The registered AOI.

        Raises:
            ConfigurationError: If none of that name is registered.
            DamagedError: If its document is: every cube over it lies on the grid that it pins.
        """
        url = self.layout.pin(name)
        try:
            content = storage.read_bytes(url)
        except FileNotFoundError:
            raise ConfigurationError(
                f"AOI {name!r} is not registered; drop {name}.geojson in the AOI folder and let "
                "the aoi_sensor see it, or run `geostack aoi add FILE`"
            ) from None
        return read_back(content, url, _pin_of, remedy=_PIN_REMEDY)


_PIN_REMEDY = (
    "restore it from a copy, or delete it and register the same geometry again: `geostack aoi add`"
)


def _pin_of(document: Mapping[str, Any]) -> Pin:
    return Pin(AOI(document["name"], document["geometry"]), document["crs"])


def _require_same(known: Pin, asked: AOI) -> None:
    """Refuse to register an AOI otherwise than it is: its cubes are on that grid.

    Raises:
        ConfigurationError: If geometry or CRS differ.
    """
    differs = "geometry" if fingerprint(known.aoi.geometry) != fingerprint(asked.geometry) else ""
    if not differs and asked.crs not in (None, known.crs):
        differs = f"CRS, {known.crs}"
    if differs:
        raise ConfigurationError(
            f"AOI {asked.name!r} is registered with another {differs}; its cubes are on that grid. "
            "Give the new area a new name (a new file name)"
        )


def aoi_files(folder: str) -> list[Path]:
    """GeoJSON files of a folder, by name; empty when there is no such folder."""
    root = Path(folder)
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.suffix in (".geojson", ".json"))
