"""The reader as an odc-loader `ReaderDriver`: `odc.stac.load(items, driver=CogDriver(signer))`.

Direct loads read with as many sources at a time as the `pool` has threads; give it 32 or more,
for they mostly wait. Under dask every task reads one chunk. Either way all tasks of a process
share one `PixelReader`, with its connections, headers and pixel maps, also after the driver was
pickled to a worker.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, override
from uuid import uuid4

import numpy as np
from odc.geo.geobox import GeoBox
from odc.loader.types import MDParser, RasterLoadParams, RasterSource

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.hrefs import basename, canonical
from geostack_dagster.errors import IntegrityError, ServiceError
from geostack_dagster.stack.reader.codec import Raw
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.pixels import PixelReader
from geostack_dagster.stack.reader.rule import SourceRule
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy, TransportName
from geostack_dagster.stack.reader.tile_index import recalled
from geostack_dagster.stack.reader.usage import Reached, Usage
from geostack_dagster.stack.tolerance import Tolerance, read_strictly

_log = logging.getLogger(__name__)
_MAX_READERS = 16
_readers: OrderedDict[str, PixelReader] = OrderedDict()
_readers_lock = Lock()

type Roi = tuple[slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverConfig:
    """All that a driver is made of; picklable if the signer is."""

    signer: Signer | None = None
    transport: TransportName = "obstore"
    policy: FetchPolicy = field(default_factory=FetchPolicy)
    index: str | None = None
    """URL of a tile index; each process reads it once."""
    tolerance: Tolerance | None = None
    """Notes what cannot be read of sources whose rule has a key; None raises it only."""
    key: str = field(default_factory=lambda: uuid4().hex)
    """Names the reader that drivers of this configuration share in a process.

    It is also what tells two loads of the same sources apart in dask: give loads with different
    calibrations different keys, such as the fingerprint of their recipe.
    """


class CogDriver:
    """Implements `odc.loader.types.ReaderDriver`.

    Args:
        config: What it is made of.
        md_parser: Tells odc-stac about bands, and may give sources a `SourceRule`; stays behind
            when the driver travels, for by then every source carries its rule.
    """

    def __init__(
        self, config: DriverConfig | None = None, *, md_parser: MDParser | None = None
    ) -> None:
        self.config = config or DriverConfig()
        self._md_parser = md_parser

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Travel as configuration only."""
        return (CogDriver, (self.config,))

    @property
    def reader(self) -> PixelReader:
        """This process's reader for the configuration."""
        config = self.config
        with _readers_lock:
            found = _readers.get(config.key)
            if found is None:
                source = ByteSource(config.signer, transport=config.transport, policy=config.policy)
                found = _readers[config.key] = PixelReader(source, recalled(config.index))
                if len(_readers) > _MAX_READERS:
                    _readers.popitem(last=False)
            _readers.move_to_end(config.key)
            return found

    def new_load(self, geobox: GeoBox, *, chunks: dict[str, int] | None = None) -> None:
        """Nothing is kept per load: what is worth keeping is kept per process."""

    def finalise_load(self, load_state: None) -> None:
        """Nothing to clean up."""

    def capture_env(self) -> dict[str, Any]:
        """Identity of the configuration: odc makes dask's keys of it, and of nothing else here."""
        return {"geostack_reader": self.config.key}

    @contextmanager
    def restore_env(self, env: dict[str, Any], load_state: None) -> Iterator[None]:
        """No process-wide option is ever set, so there is none to restore."""
        yield None

    def open(self, src: RasterSource, ctx: None) -> "CogSource":
        """A reader of one source; nothing is fetched yet."""
        return CogSource(self, src)

    @property
    def md_parser(self) -> MDParser | None:
        """The parser given; without one odc-stac's own will do."""
        return self._md_parser

    @property
    def dask_reader(self) -> None:
        """odc-loader's own graph will do."""
        return

    @property
    def aux_reader(self) -> None:
        """There are no auxiliary bands."""
        return


def reader_named(key: str) -> PixelReader | None:
    """This process's reader of the drivers with this key; None if it has not read for them."""
    with _readers_lock:
        return _readers.get(key)


@dataclass(frozen=True, slots=True)
class CogSource:
    """Implements `odc.loader.types.RasterReader` for one source."""

    driver: CogDriver
    source: RasterSource

    def read(
        self,
        cfg: RasterLoadParams,
        dst_geobox: GeoBox,
        *,
        dst: Raw | None = None,
        selection: Any = None,
    ) -> tuple[Roi, Raw]:
        """The part of the grid that the source reaches, and its pixels.

        Raises:
            AssetError, ServiceError: With `fail_on_error` and beyond the tolerance; otherwise
                nothing is reached.
            CredentialError: Always.
            ConfigurationError: If the file has no such band.
        """
        rule = SourceRule.of(self.source)
        usage = Usage(band=rule.band or self.source.band, grid=dst_geobox, cfg=cfg, rule=rule)
        reader = self.driver.reader  # not on the loop: it may have an index to read
        try:
            found = self._tolerantly(dst_geobox, lambda: wait(self._read(reader, usage, selection)))
        except (IntegrityError, ServiceError) as error:
            if cfg.fail_on_error:
                raise
            _log.warning("left out %s: %s", basename(self.source.uri), error)
            return _nowhere(cfg, dst)
        return _nowhere(cfg, dst) if found is None else self._shaped(found, cfg, dst)

    def _tolerantly[T](self, area: GeoBox, read: Callable[[], T]) -> T | None:
        key = SourceRule.of(self.source).key
        tolerance = self.driver.config.tolerance
        return read() if key is None else read_strictly(tolerance, key, area, read)

    async def _read(self, reader: PixelReader, usage: Usage, selection: Any) -> list[Reached]:
        href = canonical(self.source.uri)
        if usage.band != 0:
            return await reader.read(href, [usage])
        header = await reader.cogs.header(href)
        bands = _selected(header.main.samples, selection)
        return await reader.read(href, [replace(usage, band=band) for band in bands])

    def _shaped(
        self, found: list[Reached], cfg: RasterLoadParams, dst: Raw | None
    ) -> tuple[Roi, Raw]:
        roi = found[0].part.slices
        pixels = found[0].pixels
        if self.source.band == 0 or _extra_dims(self.source):
            # odc wants (band, y, x) or (y, x, band), as the band's metadata say.
            axis = 0 if self.source.ydim == 1 else -1
            pixels = np.stack([layer.pixels for layer in found], axis=axis)
        if dst is None:
            return roi, pixels
        target = dst[(slice(None), *roi)] if dst.ndim == 3 and self.source.ydim == 1 else dst[roi]
        np.copyto(target, pixels)
        return roi, target


def _extra_dims(source: RasterSource) -> bool:
    return source.meta is not None and bool(source.meta.extra_dims)


def _selected(count: int, selection: Any) -> list[int]:
    bands = list(range(1, count + 1))
    if selection is None:
        return bands
    if isinstance(selection, list):
        return selection
    return [bands[selection]] if isinstance(selection, int) else bands[selection]


def _nowhere(cfg: RasterLoadParams, dst: Raw | None) -> tuple[Roi, Raw]:
    nothing = (slice(0, 0), slice(0, 0))
    if dst is not None:
        return nothing, dst[nothing]
    return nothing, np.empty((0, 0), cfg.dtype or "float32")
