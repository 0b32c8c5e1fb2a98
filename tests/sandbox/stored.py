"""Objects of a store read as a client reads them: by ranges."""

import asyncio
import io

from geostack_dagster.sandbox.objects import Stored


def content(stored: Stored, start: int = 0, stop: int | None = None) -> bytes:
    async def read() -> bytes:
        pieces = stored.read(start, stored.size if stop is None else stop)
        return b"".join([bytes(piece) async for piece in pieces])

    return asyncio.run(read())


class RangeFile(io.RawIOBase):
    """A file whose reads are range requests; it counts the bytes."""

    def __init__(self, stored: Stored) -> None:
        self.stored, self.at, self.fetched = stored, 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.stored.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer) -> int:
        found = content(self.stored, self.at, min(self.at + len(buffer), self.stored.size))
        buffer[: len(found)] = found
        self.at += len(found)
        self.fetched += len(found)
        return len(found)
