"""`PixelReader`: files onto grids; the core behind the odc-loader driver and the batch planner."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from geostack_dagster.domain.hrefs import Href, basename
from geostack_dagster.errors import AssetError
from geostack_dagster.stack.reader.cog import CogReader
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.loop import decode_pool, run
from geostack_dagster.stack.reader.placement import Geometry, Placement, lay, place
from geostack_dagster.stack.reader.ranges import MIB
from geostack_dagster.stack.reader.source import ByteSource
from geostack_dagster.stack.reader.usage import Draft, Reached, Usage, nothing

_MAP_BYTES = 256 * MIB
_MAX_PLACEMENTS = 4096


class PixelReader:
    """Reads usages of files; methods are awaited on the background loop (`loop.wait`).

    Args:
        source: Where bytes come from.
        headers: Headers known beforehand, such as a stored tile index.
    """

    def __init__(self, source: ByteSource, headers: Mapping[Href, Header] | None = None) -> None:
        self.source = source
        self.cogs = CogReader(source, dict(headers or {}))
        self._placements: OrderedDict[Geometry, asyncio.Future[Placement]] = OrderedDict()
        self._map_bytes = 0

    async def read(self, href: Href, usages: Sequence[Usage]) -> list[Reached]:
        """What every usage gets of the file, in order.

        Raises:
            AssetError: If the file cannot be read, or has no place on the ground.
            ConfigurationError: If it has no such band.
            CredentialError, ServiceError: From the reads.
        """

        async def work(header: Header) -> list[Reached]:
            return await self._read(href, header, usages)

        return await self.cogs.using(href, work)

    async def _read(self, href: Href, header: Header, usages: Sequence[Usage]) -> list[Reached]:
        drafts: list[Draft | None] = []
        for usage in usages:
            usage.check(header)
            placement = await self._placement(href, header, usage)
            drafts.append(None if placement.empty else Draft.of(usage, placement, header))
        live = [draft for draft in drafts if draft is not None]
        await self.cogs.fill(href, header, [draft.want() for draft in live])
        finished = await run(lambda: [draft.finish(header) for draft in live], decode_pool())
        ready = iter(finished)
        return [
            nothing(usage) if draft is None else next(ready)
            for usage, draft in zip(usages, drafts, strict=True)
        ]

    async def _placement(self, href: Href, header: Header, usage: Usage) -> Placement:
        try:
            geometry = Geometry.of(header, usage.grid, usage.cfg, usage.rule.crs)
        except AssetError as error:
            raise error.of(basename(href)) from error
        laid = lay(geometry)
        if laid is not None:
            return laid
        found = self._placements.get(geometry)
        if found is None:
            found = asyncio.ensure_future(run(lambda: place(geometry), decode_pool()))
            self._placements[geometry] = found
            found.add_done_callback(lambda done: self._weigh(geometry, done))
        self._placements.move_to_end(geometry)
        return await asyncio.shield(found)

    def _weigh(self, geometry: Geometry, done: "asyncio.Future[Placement]") -> None:
        if done.cancelled() or done.exception() is not None:
            self._placements.pop(geometry, None)
            return
        self._map_bytes += done.result().nbytes
        while self._map_bytes > _MAP_BYTES or len(self._placements) > _MAX_PLACEMENTS:
            _, oldest = self._placements.popitem(last=False)
            if oldest.done() and not oldest.cancelled() and oldest.exception() is None:
                self._map_bytes -= oldest.result().nbytes
