"""What is asked of the Process API: bands of some scenes of one collection on one grid.

Source: Sentinel Hub, Process API reference and the definition of processing units.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.stack.process_api.evalscript import evalscript
from geostack_dagster.stack.recipe import Recipe, RecipeItem

INTERPOLATIONS = {"nearest": "NEAREST", "bilinear": "BILINEAR", "cubic": "BICUBIC"}
"""Ways of resampling that the service knows, by our name."""
_EPSG = re.compile(r"EPSG:(\d+)", re.IGNORECASE)
# Catalogue and renderer round acquisition times each in its own way; the script drops what is not
# wanted, and neighbours of one overpass are seconds apart anyhow.
_SLACK = timedelta(minutes=1)
# One processing unit: 512 x 512 pixels of three bands in 16 bit; a request costs 0.005 at least.
_UNIT_PX, _UNIT_BANDS, _LEAST_AREA, _LEAST_UNITS = 512 * 512, 3, 0.01, 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """One request, or what is cut into several."""

    collection: str
    bands: tuple[str, ...]
    scenes: tuple[Href, ...]
    """Directories of the scenes, the one on top first."""
    acquired: tuple[datetime, datetime]
    """First and last acquisition."""
    resampling: str
    grid: Grid

    def __post_init__(self) -> None:
        if self.resampling not in INTERPOLATIONS:
            raise ConfigurationError(
                f"the Process API cannot resample by {self.resampling!r}; choose one of "
                f"{', '.join(INTERPOLATIONS)}"
            )

    def body(self) -> dict[str, Any]:
        """The request as JSON; the answer is one GeoTIFF, see `evalscript`.

        Raises:
            ConfigurationError: If the grid's CRS has no EPSG code.
        """
        return self._asking({"default": "image/tiff"})

    def inquiry(self) -> dict[str, Any]:
        """The request as JSON for pixels and the places of the scenes that they are of.

        The answer is a tar with `default.tif` and `userdata.json`, `{"paths": [...]}`.

        Raises:
            ConfigurationError: As `body`.
        """
        return self._asking({"default": "image/tiff", "userdata": "application/json"})

    def pieces(self, limit_px: int) -> "Iterator[tuple[slice, slice, Rendering]]":
        """Requests of at most so many rows and columns, with the part of the grid of each."""
        grid = self.grid
        for top in range(0, grid.height, limit_px):
            for left in range(0, grid.width, limit_px):
                part = part_of(
                    grid,
                    slice(top, min(top + limit_px, grid.height)),
                    slice(left, min(left + limit_px, grid.width)),
                )
                rows = slice(top, top + part.height)
                yield rows, slice(left, left + part.width), replace(self, grid=part)

    @property
    def units(self) -> float:
        """Processing units that it costs where one scene is seen; more where scenes overlap."""
        area = max(self.grid.width * self.grid.height / _UNIT_PX, _LEAST_AREA)
        return max(area * len(self.bands) / _UNIT_BANDS, _LEAST_UNITS)

    def _asking(self, outputs: Mapping[str, str]) -> dict[str, Any]:
        first, last = self.acquired
        kernel = INTERPOLATIONS[self.resampling]
        return {
            "input": {
                "bounds": {
                    "bbox": list(self.grid.bounds),
                    "properties": {"crs": crs_url(self.grid.crs)},
                },
                "data": [
                    {
                        "type": self.collection,
                        "dataFilter": {
                            "timeRange": {"from": _utc(first - _SLACK), "to": _utc(last + _SLACK)}
                        },
                        # What `radiometry.sentinel2_harmonised` builds on: DN = 10000 R.
                        "processing": {
                            "harmonizeValues": True,
                            "upsampling": kernel,
                            "downsampling": kernel,
                        },
                    }
                ],
            },
            "output": {
                "width": self.grid.width,
                "height": self.grid.height,
                "responses": [
                    {"identifier": name, "format": {"type": media}}
                    for name, media in outputs.items()
                ],
            },
            "evalscript": evalscript(self.bands, self.scenes),
        }


def renderings(recipe: Recipe, day: date, grid: Grid) -> Iterator[Rendering]:
    """What to ask for a day on a part of the Recipe's grid.

    One request for each collection and way of resampling, for a request knows one of each.
    """
    items = [item for item in recipe.items if item.day == day]
    for collection in dict.fromkeys(item.collection for item in items):
        members = [item for item in items if item.collection == collection]
        offered = {name for item in members for name in item.sources}
        bands: dict[str, list[str]] = {}
        for band in recipe.bands:
            if band.name in offered:
                bands.setdefault(band.resampling, []).append(band.name)
        times = [item.acquired for item in members]
        for resampling, names in bands.items():
            yield Rendering(
                collection=collection,
                bands=tuple(names),
                scenes=tuple(dict.fromkeys(scene_of(item) for item in members)),
                acquired=(min(times), max(times)),
                resampling=resampling,
                grid=grid,
            )


def scene_of(item: RecipeItem) -> Href:
    """The directory that all bands of an Item come from."""
    return next(iter(item.sources.values())).href


def part_of(grid: Grid, rows: slice, columns: slice) -> Grid:
    """Some rows and columns of a grid."""
    return replace(
        grid,
        left=grid.left + columns.start * grid.resolution,
        top=grid.top - rows.start * grid.resolution,
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
    )


def crs_url(crs: str) -> str:
    """A CRS as the service names it.

    Raises:
        ConfigurationError: If it has no EPSG code.
    """
    code = _EPSG.fullmatch(crs)
    if code is None:
        raise ConfigurationError(
            f"the Process API takes a CRS by its EPSG code, not {crs[:60]!r}; choose a UTM zone, "
            "EPSG:4326 or EPSG:3857 as the pipeline's `grid.crs`"
        )
    return f"http://www.opengis.net/def/crs/EPSG/0/{code[1]}"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
