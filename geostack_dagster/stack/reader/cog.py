"""`CogReader`: headers kept, tiles fetched once each, decoded off the loop into their place.

The reader works per file. All that a plan wants of a file is known before its first tile is asked
for, so neighbouring tiles share requests and shared tiles are fetched and decoded once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from geostack_dagster.domain.hrefs import Href, basename
from geostack_dagster.errors import AssetError, GeostackError, Reason
from geostack_dagster.stack.reader import fallback
from geostack_dagster.stack.reader.codec import DamagedTileError, Raw, decompress
from geostack_dagster.stack.reader.header import Header, parse
from geostack_dagster.stack.reader.jp2 import parse_jp2, recognises
from geostack_dagster.stack.reader.level import Level
from geostack_dagster.stack.reader.loop import decode_pool, fallback_pool, run, together
from geostack_dagster.stack.reader.predictor import restore
from geostack_dagster.stack.reader.ranges import KIB, MIB, Span, coalesce
from geostack_dagster.stack.reader.refusal import StaleError
from geostack_dagster.stack.reader.segments import MissingBytes, Segments
from geostack_dagster.stack.reader.source import ByteSource, Opening
from geostack_dagster.stack.reader.tile_cache import AbandonedTileError, Arrival, TileCache
from geostack_dagster.stack.reader.transport import Buffer
from geostack_dagster.stack.reader.want import Want
from geostack_dagster.stack.reader.window import Part, parts

_HEADER_BYTES = 32 * KIB
_MAX_HEADERS = 4096

_KEPT_BYTES = 64 * MIB
_AGAIN = {Reason.CORRUPT_HEADER, Reason.NOT_A_TIFF}


@dataclass(frozen=True, slots=True, eq=False)
class _Tile:
    """A tile that is needed: where its bytes are, and where its pixels go."""

    level: Level
    start: int
    stop: int
    pastes: list[tuple[Part, Raw]]


class _Parse(Protocol):
    def __call__(self, data: Segments, *, size: int | None, etag: str | None) -> Header: ...


@dataclass(frozen=True, slots=True)
class _Form:
    """How the header of a format is read: bytes asked for beyond the first, and how often."""

    parse: _Parse
    more_bytes: int
    growths: int


_TIFF = _Form(parse, more_bytes=16 * KIB, growths=64)
# Without a list of lengths, each tile has to be asked where the next one begins.
_JP2 = _Form(parse_jp2, more_bytes=64, growths=65_536)

type _Awaited = tuple[_Tile, Arrival]


class CogReader:
    """Pixels of canonical hrefs; methods are awaited on the background loop (`loop.wait`).

    Args:
        source: Where bytes come from, and with which credentials.
        headers: Headers known beforehand, such as a stored tile index; saves reading them.
    """

    def __init__(self, source: ByteSource, headers: dict[Href, Header] | None = None) -> None:
        self.source = source
        self.fallbacks: dict[Href, str] = {}
        """Files that rasterio read instead, and why."""
        self._headers: OrderedDict[Href, asyncio.Future[Header]] = OrderedDict()
        self._known = dict(headers or {})
        self._tiles = TileCache(_KEPT_BYTES)

    async def header(self, href: Href) -> Header:
        """The header of a file, read once however many ask at the same time.

        Raises:
            AssetError: If the file is no raster, or damaged.
            CredentialError, ServiceError: From the read.
        """
        found = self._headers.get(href)
        if found is None:
            found = asyncio.ensure_future(self._open(href))
            self._headers[href] = found
            found.add_done_callback(lambda done: self._drop_failed(href, done))
            if len(self._headers) > _MAX_HEADERS:
                self._headers.popitem(last=False)
        self._headers.move_to_end(href)
        # Shielded: one reader that gives up must not take the header from the others.
        return await asyncio.shield(found)

    async def using[T](self, href: Href, work: Callable[[Header], Awaitable[T]]) -> T:
        """What `work` makes of the header, and of the tiles it asks `fill` for.

        A file that was replaced since its header was read, a header that makes no sense, or a tile
        that does not decode, is read once more from its header on: `work` may run twice.

        Raises:
            AssetError: If the file is damaged, gone, or no raster.
            CredentialError, ServiceError: From the reads.
        """
        try:
            return await work(await self.header(href))
        except AssetError as error:
            if not isinstance(error, StaleError | DamagedTileError) and error.reason not in _AGAIN:
                raise
            self.forget(href)
        try:
            return await work(await self.header(href))
        except DamagedTileError as error:
            cause = error.cause if isinstance(error, AbandonedTileError) else error
            if not isinstance(cause, DamagedTileError):
                raise cause from None
            cause.attempts = 2
            raise cause.of(basename(href)) from error
        except AssetError as error:
            error.attempts = max(error.attempts, 2)
            raise

    async def fill(self, href: Href, header: Header, wants: Sequence[Want]) -> None:
        """Fill all wants; each tile is fetched and decoded once, however many share it.

        Raises:
            DamagedTileError, StaleError: If the header is not, or no longer, that of the file.
            AssetError, CredentialError, ServiceError: From the reads.
        """
        if header.unsupported is not None:
            self.fallbacks[href] = header.unsupported
            await run(lambda: fallback.fill(self.source, href, wants), fallback_pool())
            return
        mine: list[_Awaited] = []
        shared: list[_Awaited] = []
        for tile in _plan(header, wants):
            key = (href, header.etag, tile.start)
            found = self._tiles.get(key)
            if found is None:
                mine.append((tile, self._tiles.expect(key)))
            else:
                shared.append((tile, found))
        starts, stops = [tile.start for tile, _ in mine], [tile.stop for tile, _ in mine]
        spans = coalesce(starts, stops, self.source.policy.coalescing)
        work = [self._fetched(href, header.etag, span, mine) for span in spans]
        work += [self._shared(tile, arrival) for tile, arrival in shared]
        cause: GeostackError | None = None
        try:
            await together(work)
        except GeostackError as error:
            cause = error  # who waits for a tile of ours learns why it does not come
            raise
        finally:
            keys = [((href, header.etag, tile.start), each) for tile, each in mine]
            self._tiles.give_up(keys, cause or DamagedTileError("the read was abandoned"))

    def forget(self, href: Href) -> None:
        """Read header and tiles anew next time."""
        self._tiles.drop(href)
        self._headers.pop(href, None)
        self._known.pop(href, None)

    async def prefetch(self, hrefs: Iterable[Href]) -> None:
        """Have the headers of these files at hand, as many at a time as may be in flight.

        Ends at the first that cannot be read: an archive that refuses is not asked for all of
        them. Whoever needs that one asks again, and is told why.
        """
        waiting = islice(hrefs, _MAX_HEADERS)

        async def work() -> None:
            for href in waiting:
                await self.header(href)

        with suppress(GeostackError):
            await together(work() for _ in range(self.source.policy.in_flight))

    def known_headers(self) -> dict[Href, Header]:
        """All headers at hand, for a tile index."""
        return {**self._known, **self.learned()}

    def learned(self) -> dict[Href, Header]:
        """Headers that had to be read from their files."""
        return {
            href: found.result()
            for href, found in list(self._headers.items())
            if found.done() and not found.cancelled() and found.exception() is None
            if href not in self._known
        }

    async def _fetched(
        self, href: Href, etag: str | None, span: Span, tiles: Sequence[_Awaited]
    ) -> None:
        # The slot is held until the bytes are decoded, so that bytes in memory are bounded.
        async with self.source.slots:
            data = memoryview(await self.source.fetch(href, span.start, span.stop, etag=etag))
            work = []
            for tile, arrival in (tiles[number] for number in span.members):
                encoded = data[tile.start - span.start : tile.stop - span.start]
                self._tiles.arrived((href, etag, tile.start), arrival, encoded)
                work.append((tile, encoded))
            await run(lambda: _decode(work), decode_pool())

    async def _shared(self, tile: _Tile, arrival: Arrival) -> None:
        encoded = await asyncio.shield(arrival)
        await run(lambda: _decode([(tile, encoded)]), decode_pool())

    async def _open(self, href: Href) -> Header:
        if href in self._known:
            return self._known[href]
        opening = await self.source.opening(href, _HEADER_BYTES)
        start = bytes(opening.data[:16])
        reason = fallback.raster_format(start)
        if reason is None:
            try:
                header = await self._parse(href, opening, _JP2 if recognises(start) else _TIFF)
            except AssetError as error:
                raise error.of(basename(href), otherwise=Reason.CORRUPT_HEADER) from error
            reason = header.unsupported
            if reason is None:
                return header
        why = reason
        return await run(lambda: fallback.describe(self.source, href, why), fallback_pool())

    async def _parse(self, href: Href, opening: Opening, form: "_Form") -> Header:
        data, size, etag = Segments(opening.data), opening.size, opening.etag
        for _ in range(form.growths):
            try:
                return form.parse(data, size=size, etag=etag)
            except MissingBytes as missing:
                start, stop = missing.start, max(missing.stop, missing.start + form.more_bytes)
                needed = missing.stop
            if size is not None and needed > size:
                raise AssetError(
                    f"its header points beyond its end, {size} bytes; truncated",
                    reason=Reason.TRUNCATED,
                )
            stop = stop if size is None else min(stop, size)
            async with self.source.slots:
                data.add(start, await self.source.fetch(href, start, stop, etag=etag))
        raise AssetError("its header is scattered over too many places; the file is damaged")

    def _drop_failed(self, href: Href, done: "asyncio.Future[Header]") -> None:
        failed = done.cancelled() or done.exception() is not None
        if failed and self._headers.get(href) is done:
            del self._headers[href]


def _plan(header: Header, wants: Sequence[Want]) -> list[_Tile]:
    """The tiles that fill all wants, each once; those without bytes are filled right away."""
    tiles: dict[tuple[int, int], _Tile] = {}
    for want in wants:
        level = header.levels[want.level]
        for part in parts(level, want.window, want.band):
            target, length = want.out[part.target], int(level.counts[part.tile])
            if length == 0:
                # A sparse file leaves out tiles that hold nothing but nodata.
                target[...] = 0 if header.nodata is None else header.nodata
                continue
            start = int(level.offsets[part.tile])
            fresh = _Tile(level, start, start + length, [])
            tiles.setdefault((want.level, part.tile), fresh).pastes.append((part, target))
    return list(tiles.values())


def _decode(work: Sequence[tuple[_Tile, Buffer]]) -> None:
    for tile, data in work:
        wanted = max(part.cut.bottom for part, _ in tile.pastes)
        raw = decompress(tile.level, data, tile.pastes[0][0].rows, wanted=wanted)
        for part, target in tile.pastes:
            restore(tile.level, raw, part.cut, target)
