"""Cloud-optimised GeoTIFFs of float32 maps and uint8 classes, with all a reader needs inside."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioIOError

from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.hrefs import SIGNATURE
from geostack_dagster.errors import ConfigurationError, IntegrityError, ServiceError
from geostack_dagster.storage import staged

MEDIA_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"

_TILE = 512
_CREATION = {
    "driver": "COG",
    "compress": "DEFLATE",
    "blocksize": _TILE,
    "interleave": "BAND",  # one map is read without the others
    "bigtiff": "IF_SAFER",
}
_BY_DTYPE: Mapping[str, Mapping[str, str]] = {
    "float32": {"predictor": "FLOATING_POINT", "overview_resampling": "AVERAGE"},
    "uint8": {"overview_resampling": "MODE"},  # classes have no mean
}
_SHA256_MULTIHASH = "1220"  # code of sha2-256, then its length in bytes

type Map = NDArray[np.float32]
type Classes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class BandText:
    """What a band is called for people."""

    long_name: str = ""
    unit: str = "1"
    """UDUNITS spelling; `1` for a ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of the finite pixels of one band; None where there is none."""

    minimum: float | None
    maximum: float | None
    mean: float | None
    stddev: float | None
    valid_percent: float

    def to_json(self) -> dict[str, float]:
        """The STAC `statistics` object."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class CogReport:
    """What was written, and read back equal."""

    url: str
    size: int
    """Bytes."""
    checksum: str
    """SHA-256 as a hexadecimal multihash, as in `file:checksum`."""
    statistics: Mapping[str, Statistics]
    """By band, in the order of the file."""


def write_cog(
    url: str,
    bands: Mapping[str, Map | Classes],
    grid: Grid,
    *,
    nodata: float = math.nan,
    descriptions: Mapping[str, BandText] | None = None,
    tags: Mapping[str, str] | None = None,
) -> CogReport:
    """Write maps as bands of one COG; it appears whole, and only after it was read back equal.

    Deflate with the floating-point predictor, 512-pixel tiles, averaged overviews, band names,
    units and statistics inside. The same arguments give the same bytes.

    Args:
        url: A path, or a URL of an object store or any other file system that fsspec knows.
        bands: `y x` by name: all float32, NaN where there is no value, or all uint8, every one a
            class.
        grid: Where the pixels lie.
        nodata: Written in place of NaN; NaN by default. Classes have none.
        descriptions: Long name and unit by band.
        tags: Metadata of the file.

    Raises:
        ConfigurationError: If bands differ in type, or one is neither float32 nor uint8 of the
            grid's shape, or holds the nodata value.
        IntegrityError: If a tag holds a signature, or the file does not read back equal.
        ServiceError: If the disk or the object store does not take the file.
    """
    _check(bands, grid, nodata)
    _check_unsigned(tags or {}, url)
    statistics = {name: statistics_of(values) for name, values in bands.items()}
    texts = {name: (descriptions or {}).get(name, BandText()) for name in bands}
    with staged(url) as path:
        with _taken(path):
            with rasterio.open(path, "w", **_profile(bands, grid, nodata)) as target:
                target.update_tags(**(tags or {}))
                for number, (name, values) in enumerate(bands.items(), start=1):
                    target.write(_filled(values, nodata), number)
                    _describe(target, number, name, texts[name], statistics[name])
            _verify(path, bands, grid, nodata)
        return CogReport(
            url=url,
            size=path.stat().st_size,
            checksum=_checksum(path),
            statistics=statistics,
        )


def statistics_of(values: Map | Classes) -> Statistics:
    """Statistics of the finite pixels, in float64."""
    finite = values[np.isfinite(values)]
    percent = round(100 * finite.size / max(values.size, 1), 4)
    if not finite.size:
        return Statistics(minimum=None, maximum=None, mean=None, stddev=None, valid_percent=percent)
    return Statistics(
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        mean=float(finite.mean(dtype=np.float64)),
        stddev=float(finite.std(dtype=np.float64)),
        valid_percent=percent,
    )


def multihash(content: bytes) -> str:
    """SHA-256 as a hexadecimal multihash, as in `file:checksum`."""
    return _SHA256_MULTIHASH + hashlib.sha256(content).hexdigest()


def _check(bands: Mapping[str, Map | Classes], grid: Grid, nodata: float) -> None:
    if not bands:
        raise ConfigurationError("a COG needs at least one band")
    wanted = _dtype(bands)
    for name, values in bands.items():
        if values.shape != grid.shape or values.dtype != wanted:
            raise ConfigurationError(
                f"band {name!r} is {values.dtype} of shape {values.shape}; the grid needs {wanted} "
                f"of shape {grid.shape}"
            )
        if not math.isnan(nodata) and bool((values == np.float32(nodata)).any()):
            raise ConfigurationError(
                f"band {name!r} holds {nodata:g} as a value; choose another nodata, or NaN"
            )


def _check_unsigned(tags: Mapping[str, str], url: str) -> None:
    for name, value in {**tags, "url": url}.items():
        if SIGNATURE.search(value):
            raise IntegrityError(
                f"{name} of the COG holds a signature; pass the canonical href instead"
            )


def _dtype(bands: Mapping[str, Map | Classes]) -> str:
    """Of all bands: that of the first one if a COG can have it."""
    first = str(next(iter(bands.values())).dtype)
    return first if first in _BY_DTYPE else "float32"


def _profile(bands: Mapping[str, Map | Classes], grid: Grid, nodata: float) -> dict[str, Any]:
    dtype = _dtype(bands)
    return {
        **_CREATION,
        **_BY_DTYPE[dtype],
        "dtype": dtype,
        "count": len(bands),
        "height": grid.height,
        "width": grid.width,
        "crs": CRS.from_user_input(grid.crs),
        "transform": Affine(*grid.transform),
        "nodata": nodata if dtype == "float32" else None,
    }


def _filled(values: Map | Classes, nodata: float) -> Map | Classes:
    if math.isnan(nodata) or values.dtype == np.uint8:
        return values
    return np.where(np.isnan(values), np.float32(nodata), values)


def _describe(target: Any, number: int, name: str, text: BandText, statistics: Statistics) -> None:
    target.set_band_description(number, name)
    target.set_band_unit(number, text.unit)
    stated = {
        f"STATISTICS_{key.upper()}": f"{value:.9g}" for key, value in statistics.to_json().items()
    }
    if text.long_name:
        stated["long_name"] = text.long_name
    target.update_tags(number, **stated)


@contextmanager
def _taken(path: Path) -> Iterator[None]:
    """What GDAL says of a disk that does not take a file; it may say so only when it reads back."""
    try:
        yield
    except RasterioIOError as error:
        raise ServiceError(
            f"{path.name} was not written as it should be ({error}); make room on the disk"
        ) from error


def _verify(path: Path, bands: Mapping[str, Map | Classes], grid: Grid, nodata: float) -> None:
    dtype = _dtype(bands)
    with rasterio.open(path) as source:
        place = (source.crs, source.transform[:6], source.shape)
        wanted = (CRS.from_user_input(grid.crs), grid.transform, grid.shape)
        if place != wanted or source.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") != "COG":
            raise IntegrityError(f"{path.name} reads back as {place}, not as a COG of {wanted}")
        for number, (name, values) in enumerate(bands.items(), start=1):
            read = source.read(number)
            if not np.array_equal(read, _filled(values, nodata), equal_nan=dtype == "float32"):
                raise IntegrityError(
                    f"band {name!r} of {path.name} does not read back as it was written; the disk "
                    "or the TIFF library is at fault"
                )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return _SHA256_MULTIHASH + hashlib.file_digest(file, "sha256").hexdigest()
