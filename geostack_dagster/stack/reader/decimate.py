"""Window reads of one band, decimated by nearest neighbour exactly as GDAL does."""

import numpy as np

from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.stack.reader.codec import Raw
from geostack_dagster.stack.reader.cog import CogReader
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.overview import for_shape
from geostack_dagster.stack.reader.want import Want
from geostack_dagster.stack.reader.window import Window

_EDGE = 1e-10


async def read_window(
    reader: CogReader,
    href: Href,
    window: Window | None = None,
    *,
    shape: tuple[int, int] | None = None,
    band: int = 1,
) -> Raw:
    """Pixels of a window of the full image, reduced to `shape` if given.

    Where the window leaves the image, it holds nodata (0 if the file states none), as rasterio's
    boundless reads do; such a read is never decimated.

    Raises:
        ConfigurationError: If the band does not exist, or the window leaves the image and a shape
            is asked for.
        AssetError, CredentialError, ServiceError: From the read.
    """

    async def work(header: Header) -> Raw:
        if not 1 <= band <= header.main.samples:
            raise ConfigurationError(f"band {band} of {href}; it has {header.main.samples}")
        whole = window or Window(0, header.main.height, 0, header.main.width)
        if shape in (None, whole.shape):
            return await _plain(reader, href, header, whole, band)
        if whole.clip(header.main.shape) != whole or whole.empty:
            raise ConfigurationError(f"a decimated window must lie in the image, not {whole}")
        assert shape is not None  # noqa: S101 (mypy cannot see it through the tuple)
        return await _decimated(reader, href, header, (whole, shape), band)

    return await reader.using(href, work)


async def _plain(reader: CogReader, href: Href, header: Header, window: Window, band: int) -> Raw:
    inside = window.clip(header.main.shape)
    fill = 0 if header.nodata is None else header.nodata
    out = np.full(window.shape, fill, header.main.dtype)
    if not inside.empty:
        target = out[inside.shift(-window.top, -window.left).slices]
        await reader.fill(href, header, [Want(0, inside, band - 1, target)])
    return out


async def _decimated(
    reader: CogReader, href: Href, header: Header, ask: tuple[Window, tuple[int, int]], band: int
) -> Raw:
    window, shape = ask
    number = for_shape(header.levels, window, shape)
    level = header.levels[number]
    rows = _picks(window.top, window.bottom, shape[0], (header.main.height, level.height))
    columns = _picks(window.left, window.right, shape[1], (header.main.width, level.width))
    needed = Window(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    out = np.empty(needed.shape, level.dtype)
    await reader.fill(href, header, [Want(number, needed, band - 1, out)])
    return out.take(rows - needed.top, axis=0).take(columns - needed.left, axis=1)


def _picks(
    start: int, stop: int, count: int, sizes: tuple[int, int]
) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Pixel of a level under the centre of each output pixel (GDAL 3.12, `IRasterIO`)."""
    factor = sizes[0] / sizes[1]
    first, step = start / factor, (stop - start) / factor / count
    found = np.floor((np.arange(count) + 0.5) * step + first + _EDGE)
    return found.clip(0, sizes[1] - 1).astype(np.intp)
