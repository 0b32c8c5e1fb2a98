"""`CogReader`: headers kept, tiles fetched once each, decoded off the loop into their place.

The reader works per file. All that a plan wants of a file is known before its first tile is asked
for, so neighbouring tiles share requests and shared tiles are fetched and decoded once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from geostack_dagster.domain.hrefs import Href, basename
from geostack_dagster.errors import AssetError
from geostack_dagster.stack.reader import fallback
from geostack_dagster.stack.reader.codec import DamagedTileError, Raw, decompress
from geostack_dagster.stack.reader.header import Header, parse
from geostack_dagster.stack.reader.level import Level
from geostack_dagster.stack.reader.loop import decode_pool, fallback_pool, run, together
from geostack_dagster.stack.reader.predictor import restore
from geostack_dagster.stack.reader.ranges import KIB, Span, coalesce
from geostack_dagster.stack.reader.refusal import StaleError
from geostack_dagster.stack.reader.segments import MissingBytes, Segments
from geostack_dagster.stack.reader.source import ByteSource
from geostack_dagster.stack.reader.transport import Buffer
from geostack_dagster.stack.reader.want import Want
from geostack_dagster.stack.reader.window import Part, parts

_HEADER_BYTES = 32 * KIB
_MORE_BYTES = 16 * KIB
_MAX_GROWTHS = 64
_MAX_HEADERS = 4096

type _Paste = tuple[Part, Raw]
type _Tiles = dict[tuple[int, int], list[_Paste]]


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

        A file that was replaced since its header was read, or a tile that does not decode, is read
        once more from its header on: `work` may run twice.

        Raises:
            AssetError: If the file is damaged, gone, or no raster.
            CredentialError, ServiceError: From the reads.
        """
        try:
            return await work(await self.header(href))
        except (StaleError, DamagedTileError):
            self.forget(href)
        try:
            return await work(await self.header(href))
        except DamagedTileError as error:
            raise AssetError(f"{basename(href)}: {error}") from error

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
        tiles, places = _plan(header, wants)
        starts, stops = [place[1] for place in places], [place[2] for place in places]
        spans = coalesce(starts, stops, self.source.policy.coalescing)
        await together(self._span(href, header, span, places, tiles) for span in spans)

    def forget(self, href: Href) -> None:
        """Read the header anew next time."""
        self._headers.pop(href, None)
        self._known.pop(href, None)

    def known_headers(self) -> dict[Href, Header]:
        """All headers at hand, for a tile index."""
        read = {
            href: found.result()
            for href, found in self._headers.items()
            if found.done() and not found.cancelled() and found.exception() is None
        }
        return {**self._known, **read}

    async def _span(
        self,
        href: Href,
        header: Header,
        span: Span,
        places: Sequence[tuple[tuple[int, int], int, int]],
        tiles: _Tiles,
    ) -> None:
        # The slot is held until the bytes are decoded, so that bytes in memory are bounded.
        async with self.source.slots:
            data = memoryview(
                await self.source.fetch(href, span.start, span.stop, etag=header.etag)
            )
            work = []
            for number in span.members:
                key, start, stop = places[number]
                encoded = data[start - span.start : stop - span.start]
                work.append((header.levels[key[0]], encoded, tiles[key]))
            await run(lambda: _decode(work), decode_pool())

    async def _open(self, href: Href) -> Header:
        if href in self._known:
            return self._known[href]
        opening = await self.source.opening(href, _HEADER_BYTES)
        reason = fallback.raster_format(bytes(opening.data[:16]))
        if reason is None:
            data = Segments(opening.data)
            try:
                header = await self._parse(href, data, opening.size, opening.etag)
            except AssetError as error:
                raise AssetError(f"{basename(href)}: {error}") from error
            reason = header.unsupported
            if reason is None:
                return header
        why = reason
        return await run(lambda: fallback.describe(self.source, href, why), fallback_pool())

    async def _parse(
        self, href: Href, data: Segments, size: int | None, etag: str | None
    ) -> Header:
        for _ in range(_MAX_GROWTHS):
            try:
                return parse(data, size=size, etag=etag)
            except MissingBytes as missing:
                start, stop = missing.start, max(missing.stop, missing.start + _MORE_BYTES)
                needed = missing.stop
            if size is not None and needed > size:
                raise AssetError(f"its header points beyond its end, {size} bytes; truncated")
            stop = stop if size is None else min(stop, size)
            async with self.source.slots:
                data.add(start, await self.source.fetch(href, start, stop, etag=etag))
        raise AssetError("its header is scattered over too many places; the file is damaged")

    def _drop_failed(self, href: Href, done: "asyncio.Future[Header]") -> None:
        failed = done.cancelled() or done.exception() is not None
        if failed and self._headers.get(href) is done:
            del self._headers[href]


def _plan(
    header: Header, wants: Sequence[Want]
) -> tuple[_Tiles, list[tuple[tuple[int, int], int, int]]]:
    """Which pastes each tile serves, and where its bytes are; tiles without bytes are filled."""
    tiles: _Tiles = {}
    for want in wants:
        level = header.levels[want.level]
        for part in parts(level, want.window, want.band):
            key, target = (want.level, part.tile), want.out[part.target]
            if level.counts[part.tile] == 0:
                # A sparse file leaves out tiles that hold nothing but nodata.
                target[...] = 0 if header.nodata is None else header.nodata
            else:
                tiles.setdefault(key, []).append((part, target))
    places = []
    for key in tiles:
        level = header.levels[key[0]]
        start = int(level.offsets[key[1]])
        places.append((key, start, start + int(level.counts[key[1]])))
    return tiles, places


def _decode(work: Sequence[tuple[Level, Buffer, list[_Paste]]]) -> None:
    for level, data, pastes in work:
        raw = decompress(level, data, pastes[0][0].rows)
        for part, target in pastes:
            restore(level, raw, part.cut, target)
