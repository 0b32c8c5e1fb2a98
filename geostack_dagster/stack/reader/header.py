"""What a GeoTIFF says about itself: its levels, its place on the ground, nodata and calibration."""

import math
import re
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geostack_dagster.errors import AssetError
from geostack_dagster.stack.reader.georeference import Coefficients, georeference
from geostack_dagster.stack.reader.level import Compression, Level, Predictor
from geostack_dagster.stack.reader.segments import Segments
from geostack_dagster.stack.reader.tiff import Tags, directories

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS, _PLANAR = 273, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 317, 322, 323, 324, 325
_FORMAT, _JPEG_TABLES, _FILL_ORDER, _LERC_PARAMETERS = 339, 347, 266, 50674
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113
_REDUCED, _PAGE, _MASK = 1, 2, 4
_SEPARATE = 2
_KINDS = {1: "uint", 2: "int", 3: "float", 4: "uint"}
_YCBCR = 6
_ITEM = re.compile(r'<Item name="(SCALE|OFFSET)" sample="(\d+)" role="(?:scale|offset)">([^<]*)<')


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """A parsed GeoTIFF header; `levels[0]` is the full image, the others its overviews."""

    levels: tuple[Level, ...]
    masks: tuple[Level, ...] = ()
    transform: Coefficients | None
    """Affine a, b, c, d, e, f of the full image."""
    crs: str | None
    """`EPSG:n`, or WKT where the file has no code."""
    nodata: float | None = None
    scales: tuple[float, ...] = ()
    """Per band, as GDAL's metadata states; never applied here."""
    offsets: tuple[float, ...] = ()
    size: int | None = None
    """Length of the file [bytes]."""
    etag: str | None = None
    unsupported: str | None = field(default=None)
    """Why rasterio has to read this file; None if this reader can."""

    @property
    def main(self) -> Level:
        """The full image."""
        return self.levels[0]

    @property
    def overviews(self) -> list[int]:
        """Reduction of each overview, as rasterio states it."""
        width = self.main.width
        return [int(0.5 + width / level.width) for level in self.levels[1:]]

    @cached_property
    def geobox(self) -> GeoBox | None:
        """Grid of the full image; None if it has no affine transform or no CRS."""
        return self.geobox_in(None)

    def geobox_in(self, crs: str | None) -> GeoBox | None:
        """The grid, with a CRS for a file that states none."""
        found = self.crs or crs
        if self.transform is None or found is None:
            return None
        return GeoBox(self.main.shape, Affine(*self.transform), found)

    def level_transform(self, number: int) -> Affine:
        """Affine of a level: the full image's, stretched so that the level covers its extent."""
        if self.transform is None:
            raise AssetError("the file has no affine transform; read it by window instead")
        level, full = self.levels[number], Affine(*self.transform)
        return full * Affine.scale(self.main.width / level.width, self.main.height / level.height)


def parse(data: Segments, *, size: int | None = None, etag: str | None = None) -> Header:
    """The header, from as much of the file as it takes.

    Raises:
        MissingBytes: If more of the file is needed.
        AssetError: If it is not a TIFF, or contradicts itself.
    """
    flavour, found = directories(data)
    images, masks, reason = _images(found, flavour.order)
    place = georeference(found[0])
    crs = None if place.epsg is None else f"EPSG:{place.epsg}"
    if crs is None and place.stated:
        crs = _wkt(data.head)
    bands = images[0].samples
    scales, offsets = _calibration(found[0], bands)
    return Header(
        levels=images,
        masks=masks,
        transform=place.transform,
        crs=crs,
        nodata=_nodata(found[0], images[0].dtype),
        scales=scales,
        offsets=offsets,
        size=size,
        etag=etag,
        unsupported=reason,
    )


def _images(
    found: list[Tags], order: str
) -> tuple[tuple[Level, ...], tuple[Level, ...], str | None]:
    images, masks = [_level(found[0], order)], []
    reason = _unsupported(found[0], images[0])
    for tags in found[1:]:
        kind = _number(tags, _SUBFILE, 0)
        if kind & _PAGE or not kind & (_MASK | _REDUCED):
            continue  # another page of a multi-page file, which GDAL shows as a subdataset
        level = _level(tags, order)
        if kind & _MASK:
            masks.append(level)
        elif level.samples == images[0].samples and level.dtype == images[0].dtype:
            images.append(level)
            reason = reason or _unsupported(tags, level)
    return tuple(images), tuple(masks), reason


def _level(tags: Tags, order: str) -> Level:
    width, height = _number(tags, _WIDTH, 0), _number(tags, _HEIGHT, 0)
    tiled = _TILE_OFFSETS in tags
    rows = min(_number(tags, _ROWS_PER_STRIP, height), height)
    level = Level(
        width=width,
        height=height,
        tile_width=_number(tags, _TILE_WIDTH, 0) if tiled else width,
        tile_height=_number(tags, _TILE_HEIGHT, 0) if tiled else rows,
        samples=_number(tags, _SAMPLES, 1),
        dtype=_dtype(tags),
        order=order,
        strips=not tiled,
        separate=_number(tags, _PLANAR, 1) == _SEPARATE,
        compression=_number(tags, _COMPRESSION, 1),
        predictor=_number(tags, _PREDICTOR, 1),
        photometric=_number(tags, _PHOTOMETRIC, 1),
        jpeg_tables=_bytes(tags, _JPEG_TABLES),
        lerc_packing=_lerc_packing(tags),
        offsets=_places(tags, _TILE_OFFSETS if tiled else _STRIP_OFFSETS),
        counts=_places(tags, _TILE_COUNTS if tiled else _STRIP_COUNTS),
    )
    if min(width, height, level.tile_width, level.tile_height, level.samples) < 1:
        raise AssetError(f"a TIFF image of {width} x {height} pixels; the file is damaged")
    tiles = level.across * level.down * (level.samples if level.separate else 1)
    if len(level.offsets) < tiles or len(level.counts) < tiles:
        raise AssetError(
            f"the TIFF names {min(len(level.offsets), len(level.counts))} tiles where its size "
            f"needs {tiles}; the file is damaged"
        )
    return level


def _unsupported(tags: Tags, level: Level) -> str | None:
    bits = tags.get(_BITS)
    jpeg = level.compression == Compression.JPEG
    reasons = (
        (
            isinstance(bits, np.ndarray) and len(set(bits.tolist())) > 1,
            "bands of different depth",
        ),
        (
            level.dtype == "",
            f"{_number(tags, _BITS, 1)} bits of sample format {_number(tags, _FORMAT, 1)}",
        ),
        (_number(tags, _FILL_ORDER, 1) != 1, "reversed bit order"),
        (level.compression not in set(Compression), f"compression {level.compression}"),
        (level.predictor not in set(Predictor), f"predictor {level.predictor}"),
        (jpeg and level.dtype != "uint8", "JPEG of more than 8 bits"),
        (level.photometric == _YCBCR and not jpeg, "YCbCr colours outside JPEG"),
        (
            level.compression == Compression.LERC and level.samples_per_tile > 1,
            "LERC of interleaved bands",
        ),
    )
    return next((reason for found, reason in reasons if found), None)


def _lerc_packing(tags: Tags) -> int:
    found = tags.get(_LERC_PARAMETERS)
    return int(found[1]) if isinstance(found, np.ndarray) and found.size > 1 else 0


def _dtype(tags: Tags) -> str:
    """Numpy name; empty for what numpy has no name for, or GDAL reads as another type."""
    bits, kind = _number(tags, _BITS, 1), _KINDS.get(_number(tags, _FORMAT, 1))
    widths = (16, 32, 64) if kind == "float" else (8, 16, 32, 64)
    return f"{kind}{bits}" if kind is not None and bits in widths else ""


def _nodata(tags: Tags, dtype: str) -> float | None:
    text = (_bytes(tags, _GDAL_NODATA) or b"").partition(b"\0")[0].strip().decode("ascii", "ignore")
    try:
        value = float(text)
    except ValueError:
        return None
    if dtype == "" or dtype.startswith("float"):
        return value
    limits = np.iinfo(dtype)
    # A marker the type cannot hold marks nothing; rasterio drops it as well.
    return value if math.isfinite(value) and limits.min <= value <= limits.max else None


def _calibration(tags: Tags, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    scales, offsets = [1.0] * bands, [0.0] * bands
    text = (_bytes(tags, _GDAL_METADATA) or b"").decode("utf-8", "replace")
    for name, sample, value in _ITEM.findall(text):
        if int(sample) < bands:
            (scales if name == "SCALE" else offsets)[int(sample)] = float(value)
    return tuple(scales), tuple(offsets)


def _wkt(head: bytes) -> str | None:
    """WKT by GDAL's own reading of the geokeys, which needs only the start of the file."""
    from rasterio.errors import RasterioError
    from rasterio.io import MemoryFile

    try:
        with MemoryFile(head) as memory, memory.open() as dataset:
            return None if dataset.crs is None else str(dataset.crs.to_wkt())
    except RasterioError:
        return None


def _number(tags: Tags, code: int, default: int) -> int:
    found = tags.get(code)
    return int(found[0]) if isinstance(found, np.ndarray) and found.size else default


def _bytes(tags: Tags, code: int) -> bytes | None:
    found = tags.get(code)
    return bytes(found) if isinstance(found, bytes) else None


def _places(tags: Tags, code: int) -> NDArray[np.uint64]:
    found = tags.get(code)
    return found.astype(np.uint64) if isinstance(found, np.ndarray) else np.zeros(0, np.uint64)
