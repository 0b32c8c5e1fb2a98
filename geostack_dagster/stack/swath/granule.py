"""One granule as a Dataset in sensor geometry: radiance lazily by columns, the rest at once."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.swath import SwathLayout
from geostack_dagster.errors import AssetError, ConfigurationError
from geostack_dagster.providers import provider_named
from geostack_dagster.stack.reader.ranges import MIB
from geostack_dagster.stack.swath.ask import layout_of, opened
from geostack_dagster.stack.swath.layout import Raw, SwathFile, found
from geostack_dagster.stack.swath.recipe import Part, SwathItem, SwathRecipe
from geostack_dagster.stack.swath.table import GeometryTable, cropped

DIMS = ("downtrack", "crosstrack", "band")
_BLOCK_BYTES = 96 * MIB
"""Values in memory that one block of columns may take."""
_ALIGNED = 16  # columns; blocks of a multiple are whole chunks of a cube

# How the names of observation quantities begin; what follows in brackets has changed over time.
_OBSERVED = {
    "to-sun zenith": ("sun_zenith", "solar_zenith_angle", "degree"),
    "to-sun azimuth": ("sun_azimuth", "solar_azimuth_angle", "degree"),
    "to-sensor zenith": ("view_zenith", "sensor_zenith_angle", "degree"),
    "to-sensor azimuth": ("view_azimuth", "sensor_azimuth_angle", "degree"),
    "path length": ("path_length", None, "m"),
}


@dataclass(frozen=True, slots=True)
class OpenGranule:
    """A granule whose files are open; its Dataset reads from them as long as they are."""

    recipe: SwathRecipe
    item: SwathItem
    layout: SwathLayout
    data: SwathFile
    observation: SwathFile | None

    @property
    def bytes_read(self) -> int:
        """Bytes fetched so far."""
        return sum(file.bytes_read for file in self._files)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read in another way than the usual one, and why."""
        return tuple(note for file in self._files for note in file.notes)

    @property
    def _files(self) -> tuple[SwathFile, ...]:
        return (self.data,) if self.observation is None else (self.data, self.observation)

    def dataset(self, *, columns: int | None = None) -> xr.Dataset:
        """The granule's part; nothing but its radiance (or reflectance) is left to be computed.

        Variables over `downtrack, crosstrack`: `lon`, `lat`, `elev`, and `sun_zenith`,
        `sun_azimuth`, `view_zenith`, `view_azimuth`, `path_length` as far as they are known;
        `glt_x` and `glt_y` over `ortho_y, ortho_x`, 1-based into this part, 0 where there is no
        pixel. The data variable has all three dims, float32, NaN where nothing was measured.

        Args:
            columns: In a block of it; None takes as many as fit 96 MiB.

        Raises:
            AssetError: If the file lacks an array or its arrays do not belong together.
            CredentialError, ServiceError: As every read.
        """
        part = _part(self.item)
        whole = xr.Dataset(
            {self.layout.data: (DIMS, self._lazy(part, columns), self._data_attrs())},
            coords=self._coordinates(part),
            attrs=self._attrs(part),
        )
        return whole.assign(self._ground(part)).assign(self._angles(part))

    def _lazy(self, part: Part, columns: int | None) -> da.Array:
        source = _Columns(self.data, self.layout.data, part)
        array: da.Array = da.from_array(
            source,
            chunks=(source.shape[0], columns or _block(part), source.shape[2]),
            name=f"{self.layout.data}-{self.recipe.fingerprint}-{self.item.id}",
            meta=np.empty((0, 0, 0), np.float32),
        )
        return array

    def _data_attrs(self) -> dict[str, Any]:
        stated = found(self.data, self.layout.data).attrs
        kept = {name: stated[name] for name in ("long_name", "units") if name in stated}
        return {**kept, "coordinates": "lon lat"}

    def _coordinates(self, part: Part) -> dict[str, Any]:
        indices = np.array(part.band_indices)
        tables = {"wavelength_nm": self.layout.wavelengths, "fwhm_nm": self.layout.fwhm}
        found_here = {
            name: ("band", _numbers(self.data, path)[indices], {"units": "nm"})
            for name, path in tables.items()
        }
        good = np.ones(indices.size, np.int8)
        if self.layout.good in self.data.arrays:
            good = (self.data.read(self.layout.good)[indices] == 1).astype(np.int8)
        return {
            **found_here,
            "good_band": ("band", good, {"long_name": "1 where the band is usable"}),
            "line": ("downtrack", np.arange(*part.rows, dtype=np.int32)),
            "column": ("crosstrack", np.arange(*part.columns, dtype=np.int32)),
        }

    def _attrs(self, part: Part) -> dict[str, Any]:
        return {
            "Conventions": "CF-1.11",
            "provider": self.recipe.provider,
            "collection": self.recipe.collection,
            "item": self.item.id,
            "acquired": self.item.acquired.isoformat(),
            "recipe": self.recipe.fingerprint,
            "granule_shape": list(part.shape),
            "notes": list(self.notes),
        }

    def _ground(self, part: Part) -> dict[str, Any]:
        window = part.rows, part.columns
        names = {
            "lon": (self.layout.longitude, "longitude", "degrees_east"),
            "lat": (self.layout.latitude, "latitude", "degrees_north"),
            "elev": (self.layout.elevation, "surface_altitude", "m"),
        }
        ground: dict[str, Any] = {
            name: (
                DIMS[:2],
                _numbers(self.data, path, window),
                {"standard_name": cf, "units": unit},
            )
            for name, (path, cf, unit) in names.items()
            if path in self.data.arrays
        }
        table = self._table(part)
        if table is not None:
            where = {"crs": "EPSG:4326", "geotransform": list(table.geotransform)}
            dims = ("ortho_y", "ortho_x")
            ground["glt_x"] = (dims, table.x, {"long_name": "column, 1-based", **where})
            ground["glt_y"] = (dims, table.y, {"long_name": "line, 1-based", **where})
        return ground

    def _table(self, part: Part) -> GeometryTable | None:
        paths = self.layout.glt_x, self.layout.glt_y
        transform = _affine(self.data.attrs.get("geotransform"))
        if transform is None or not all(path in self.data.arrays for path in paths):
            return None
        x, y = (_integers(self.data, path) for path in paths)
        return cropped(x, y, transform, part)

    def _angles(self, part: Part) -> dict[str, Any]:
        """Angles of each pixel, else the sun's as the Item states it for all of them."""
        if self.observation is not None:
            return self._observed(self.observation, part)
        if self.item.sun_zenith_deg is None:
            return {}
        rows, columns = part.rows, part.columns
        shape = rows[1] - rows[0], columns[1] - columns[0]
        values = np.full(shape, self.item.sun_zenith_deg, np.float32)
        attrs = {
            "standard_name": "solar_zenith_angle",
            "units": "degree",
            "of": "the whole granule",
        }
        return {"sun_zenith": (DIMS[:2], values, attrs)}

    def _observed(self, file: SwathFile, part: Part) -> dict[str, Any]:
        layout = found(file, self.layout.observation)
        if layout.shape[:2] != part.shape[:2]:
            raise AssetError(
                f"{file.name} has {layout.shape[:2]} pixels, {self.data.name} {part.shape[:2]}; "
                "they are of different granules"
            )
        names = [str(name).lower() for name in file.read(self.layout.observation_names)]
        values = _numbers(
            file, self.layout.observation, (part.rows, part.columns, (0, layout.shape[2]))
        )
        angles = {}
        for number, name in enumerate(names):
            for start, (variable, cf, unit) in _OBSERVED.items():
                if name.startswith(start):
                    attrs = {"units": unit, **({"standard_name": cf} if cf else {})}
                    angles[variable] = (DIMS[:2], values[..., number].astype(np.float32), attrs)
        return angles


@contextmanager
def open_granule(
    recipe: SwathRecipe, item: SwathItem, *, signer: Signer | None
) -> Iterator[OpenGranule]:
    """A granule of a located Recipe, its files open until the block ends.

    Raises:
        ConfigurationError: If the Recipe was not located.
        AssetError: If a file is not what it claims to be.
        CredentialError, ServiceError: As every read.
    """
    _part(item)
    layout = layout_of(provider_named(recipe.provider), recipe.collection)
    with ExitStack() as stack:

        def file(name: str) -> SwathFile:
            one = opened(recipe, item, name, signer)
            stack.callback(one.close)
            return one

        observed = layout.observation_file in item.sources
        yield OpenGranule(
            recipe=recipe,
            item=item,
            layout=layout,
            data=file(layout.file),
            observation=file(str(layout.observation_file)) if observed else None,
        )


@dataclass(frozen=True, slots=True)
class _Columns:
    """An array that reads when it is sliced: float32, NaN where nothing was measured."""

    file: SwathFile
    name: str
    part: Part
    bands: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", np.array(self.part.band_indices))

    @property
    def shape(self) -> tuple[int, int, int]:
        rows, columns = self.part.rows, self.part.columns
        return rows[1] - rows[0], columns[1] - columns[0], self.bands.size

    ndim = 3
    dtype = np.dtype(np.float32)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Raw:
        spans = [range(*one.indices(size)) for one, size in zip(key, self.shape, strict=True)]
        rows, columns = (
            (span.start + first[0], span.stop + first[0])
            for span, first in zip(spans, (self.part.rows, self.part.columns), strict=False)
        )
        bands = self.bands[key[2]]
        # What lies between two windows of wavelength is read over: it is near on the disk.
        low, high = (int(bands[0]), int(bands[-1]) + 1) if bands.size else (0, 0)
        stored = self.file.read(self.name, (rows, columns, (low, high)))
        picked = stored if bands.size == high - low else stored[..., bands - low]
        return _known(picked, found(self.file, self.name).missing, np.float32)


def _part(item: SwathItem) -> Part:
    if item.part is None:
        raise ConfigurationError(
            f"which part of {item.id} is wanted was not looked up yet; locate the recipe first"
        )
    return item.part


def _block(part: Part) -> int:
    """Columns whose values fit a block, whole chunks of a cube at a time."""
    low, high = part.bands[0][0], part.bands[-1][1]
    column = (part.rows[1] - part.rows[0]) * (high - low) * np.dtype(np.float32).itemsize
    fit = _BLOCK_BYTES // max(column, 1)
    columns = part.columns[1] - part.columns[0]
    return max(min(columns, max(fit // _ALIGNED, 1) * _ALIGNED), 1)


def _numbers(file: SwathFile, path: str, window: Any = None) -> Raw:
    """Values as float64, NaN where they are missing."""
    return _known(file.read(path, window), found(file, path).missing, np.float64)


def _integers(file: SwathFile, path: str) -> Raw:
    """A geometry table with 0 where there is no pixel, whatever the file writes there."""
    values = file.read(path)
    return np.where(values == found(file, path).missing, 0, values).astype(np.int32)


def _known(values: Raw, missing: Any, dtype: Any) -> Raw:
    known = values.astype(dtype)
    if missing is not None and not (isinstance(missing, float) and math.isnan(missing)):
        known[values == missing] = np.nan
    return known


def _affine(stated: Any) -> tuple[float, ...] | None:
    whole = isinstance(stated, list) and len(stated) == 6
    return tuple(map(float, stated)) if whole else None
