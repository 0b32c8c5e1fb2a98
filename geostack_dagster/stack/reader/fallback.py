"""Files this reader does not decode itself (odd codecs and formats), read by rasterio.

GDAL gets its bytes from `ByteFile`: same credentials, renewed at the read, same errors, and not one
process-wide option or URL in its hands.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import override

import numpy as np
import rasterio
from rasterio.abc import FileContainer
from rasterio.errors import RasterioError

from geostack_dagster.domain.hrefs import Href, basename
from geostack_dagster.errors import AssetError, Reason
from geostack_dagster.stack.reader.byte_file import ByteFile, RemoteBlocks
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.level import Level
from geostack_dagster.stack.reader.source import ByteSource
from geostack_dagster.stack.reader.want import Want

_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # GDAL's own threads would call back into Python without the context that rasterio needs.
    "GDAL_NUM_THREADS": "1",
}
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "HDF5 or netCDF",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
}
_NO_TILES = np.zeros(0, np.uint64)


def raster_format(start: bytes) -> str | None:
    """Name of a raster format that only the fallback reads, by the first bytes of the file."""
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def describe(source: ByteSource, href: Href, reason: str) -> Header:
    """Header of a file as rasterio sees it; `unsupported` gives the reason it had to.

    Raises:
        AssetError: If rasterio cannot open it either.
        CredentialError, ServiceError: From the reads.
    """
    blocks = RemoteBlocks(source, href)
    with _opened(blocks, href) as dataset:
        shapes = [dataset.shape]
        count = len(dataset.overviews(1))
        placed = dataset.crs is not None and not dataset.transform.is_identity
        header = Header(
            levels=(),
            transform=tuple(dataset.transform)[:6] if placed else None,
            crs=_crs(dataset.crs) if placed else None,
            nodata=dataset.nodata,
            scales=tuple(dataset.scales),
            offsets=tuple(dataset.offsets),
            unsupported=reason,
        )
        kind = (dataset.dtypes[0], dataset.count)
    for level in range(1, count + 1):
        with _opened(blocks, href, level) as reduced:
            shapes.append(reduced.shape)
    return replace(header, levels=tuple(_level(shape, *kind) for shape in shapes))


def fill(source: ByteSource, href: Href, wants: Sequence[Want]) -> None:
    """Fill all wants of one file; meant for a worker thread.

    Raises:
        AssetError: If the file does not decode.
        CredentialError, ServiceError: From the reads.
    """
    blocks = RemoteBlocks(source, href)
    for number in sorted({want.level for want in wants}):
        with _opened(blocks, href, number) as dataset:
            for want in wants:
                if want.level == number:
                    dataset.read(want.band + 1, window=want.window.slices, out=want.out)


class _One(FileContainer):  # type: ignore[misc]
    """A folder that holds one file and no sidecars."""

    def __init__(self, blocks: RemoteBlocks) -> None:
        self._blocks = blocks

    @override
    def open(self, path: str, mode: str = "r", **options: object) -> ByteFile:
        return ByteFile(self._blocks)

    @override
    def isfile(self, path: str) -> bool:
        return True

    @override
    def isdir(self, path: str) -> bool:
        return False

    @override
    def ls(self, path: str) -> list[str]:
        return [path]

    @override
    def mtime(self, path: str) -> int:
        return 0

    @override
    def rm(self, path: str) -> None:
        raise FileNotFoundError(path)

    @override
    def size(self, path: str) -> int:
        return self._blocks.size


@contextmanager
def _opened(blocks: RemoteBlocks, href: Href, level: int = 0) -> Iterator[rasterio.DatasetReader]:
    options = {"overview_level": level - 1} if level else {}
    try:
        with (
            rasterio.Env(**_OPTIONS),
            rasterio.open(basename(href), opener=_One(blocks), sharing=False, **options) as dataset,
        ):
            yield dataset
    except RasterioError as error:
        if blocks.failure is not None:
            raise blocks.failure from error
        raise AssetError(
            f"{basename(href)} cannot be read by rasterio either: {error}",
            reason=Reason.CORRUPT_TILE,
        ) from error


def _level(shape: tuple[int, int], dtype: str, bands: int) -> Level:
    """A level of which only the shape matters: its tiles are GDAL's business."""
    return Level(
        width=shape[1],
        height=shape[0],
        tile_width=shape[1],
        tile_height=shape[0],
        samples=bands,
        dtype=dtype,
        offsets=_NO_TILES,
        counts=_NO_TILES,
    )


def _crs(found: rasterio.CRS) -> str:
    code = found.to_epsg()
    return found.to_wkt() if code is None else f"EPSG:{code}"
