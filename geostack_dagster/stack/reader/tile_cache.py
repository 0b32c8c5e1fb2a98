"""Encoded tiles that other chunks may want in a moment: each is fetched by one of them only.

odc-loader shows its driver one chunk at a time, and tiles on the edges of chunks belong to several.
Used on the background loop only, so there is nothing to lock.
"""

import asyncio
import math
from collections.abc import Sequence

from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import GeostackError
from geostack_dagster.stack.reader.codec import DamagedTileError

type TileKey = tuple[Href, str | None, int]
"""File, its entity tag, and where the tile begins."""
type Arrival = asyncio.Future[memoryview]


class AbandonedTileError(DamagedTileError):
    """Whoever fetched the tile failed; who waited for it tries once more, then fails alike."""

    def __init__(self, cause: GeostackError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class TileCache:
    """The latest tiles, up to a number of bytes and seconds, and those on their way."""

    def __init__(self, max_bytes: int, max_age_s: float = 30.0) -> None:
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self._bytes = 0
        self._arrived_s: dict[TileKey, float] = {}
        self._tiles: dict[TileKey, Arrival] = {}

    def get(self, key: TileKey) -> Arrival | None:
        """The tile, perhaps still on its way; None if nobody asked for it lately."""
        found = self._tiles.get(key)
        if found is None:
            return None
        # The archive may replace a file; what is in hand is good for one load, not for a day.
        if self._now() - self._arrived_s.get(key, math.inf) > self._max_age_s:
            self._remove(key)
            return None
        return found

    def expect(self, key: TileKey) -> Arrival:
        """A place for a tile that the caller is about to fetch."""
        arrival: Arrival = asyncio.get_running_loop().create_future()
        self._tiles[key] = arrival
        return arrival

    def arrived(self, key: TileKey, arrival: Arrival, data: memoryview) -> None:
        """Hand the tile to whoever waits, and keep it for a while."""
        if arrival.done():
            return
        arrival.set_result(data)
        self._bytes += len(data)
        self._arrived_s[key] = self._now()
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._arrived_s)))

    def drop(self, href: Href) -> None:
        """Forget a file's tiles that have arrived."""
        for key in [key for key in self._arrived_s if key[0] == href]:
            self._remove(key)

    def give_up(self, expected: Sequence[tuple[TileKey, Arrival]], cause: GeostackError) -> None:
        """Tell whoever waits for these why they do not come; each reads again by itself."""
        for key, arrival in expected:
            if not arrival.done():
                arrival.set_exception(AbandonedTileError(cause))
                arrival.exception()  # it may be that nobody waits
                if self._tiles.get(key) is arrival:
                    del self._tiles[key]

    def _remove(self, key: TileKey) -> None:
        del self._arrived_s[key]
        self._bytes -= len(self._tiles.pop(key).result())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
