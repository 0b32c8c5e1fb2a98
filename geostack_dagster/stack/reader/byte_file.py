"""A remote object as a seekable file, for libraries that want one; blocks are fetched as needed.

Every block is asked for through `ByteSource`, so whatever reads this file has its credential
renewed in the middle of the read and never sees a URL.
"""

import io
from collections import OrderedDict
from typing import override

from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import AssetError, GeostackError
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.ranges import KIB
from geostack_dagster.stack.reader.source import ByteSource

_BLOCK = 256 * KIB
_KEPT_BLOCKS = 64


class RemoteBlocks:
    """Blocks of one object, the latest of them kept; `ByteFile`s share them.

    `failure` holds the error that made a read return nothing: callbacks from C cannot raise.

    Args:
        source: Where bytes come from.
        href: The object.
        block_bytes: What is fetched at least; little where only a header is wanted.
    """

    def __init__(self, source: ByteSource, href: Href, *, block_bytes: int = _BLOCK) -> None:
        self._source, self._href, self._block = source, href, block_bytes
        opening = wait(source.opening(href, block_bytes))
        if opening.size is None:
            raise AssetError(f"the server does not say how long {href} is; download it instead")
        self.size = opening.size
        self.failure: GeostackError | None = None
        self.etag = opening.etag
        self._blocks = OrderedDict({0: memoryview(opening.data)})

    def span(self, start: int, stop: int) -> bytes:
        """These bytes, or none of them after a failure."""
        first, last = start // self._block, (stop - 1) // self._block
        try:
            self._fetch([n for n in range(first, last + 1) if n not in self._blocks])
        except GeostackError as error:
            self.failure = error
            return b""
        joined = b"".join(self._blocks[n] for n in range(first, last + 1))
        for number in range(first, last + 1):
            self._blocks.move_to_end(number)
        while len(self._blocks) > max(_KEPT_BLOCKS, last - first + 1):
            self._blocks.popitem(last=False)
        return joined[start - first * self._block : stop - first * self._block]

    def _fetch(self, numbers: list[int]) -> None:
        if not numbers:
            return
        starts = [number * self._block for number in numbers]
        stops = [min(start + self._block, self.size) for start in starts]
        found = wait(self._source.ranges(self._href, starts, stops, etag=self.etag))
        self._blocks.update(zip(numbers, found, strict=True))


class ByteFile(io.RawIOBase):
    """A read-only position in `RemoteBlocks`; not to be used on the background loop."""

    def __init__(self, blocks: RemoteBlocks) -> None:
        super().__init__()
        self._blocks = blocks
        self._position = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._blocks.size}
        self._position = max(0, starts[whence] + offset)
        return self._position

    @override
    def read(self, size: int = -1, /) -> bytes:
        end = self._blocks.size
        stop = end if size < 0 else min(self._position + size, end)
        if stop <= self._position:
            return b""
        data = self._blocks.span(self._position, stop)
        self._position += len(data)
        return data
