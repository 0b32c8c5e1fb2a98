"""Local files answered like a server: same replies, no network."""

import asyncio
import os
from typing import override
from urllib.parse import unquote

from geostack_dagster.domain.hrefs import locate
from geostack_dagster.stack.reader.transport import Ask, Reply, Transport


class LocalTransport(Transport):
    """Reads `file:` hrefs and plain paths; the entity tag is made of time and size."""

    @override
    async def get(self, ask: Ask) -> Reply:
        return await asyncio.to_thread(_read, ask)

    @override
    async def close(self) -> None:
        """Nothing is kept open."""


def _read(ask: Ask) -> Reply:
    path = locate(ask.request.url).key
    if ask.request.url.startswith("file:"):
        path = unquote(path)
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return Reply(status=404, data=b"")
    except PermissionError:
        return Reply(status=403, data=b"")
    try:
        found = os.fstat(handle)
        etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        if ask.etag not in (None, etag):
            return Reply(status=412, data=b"")
        if ask.start >= found.st_size:
            return Reply(status=416, data=b"")
        data = os.pread(handle, ask.stop - ask.start, ask.start)
    finally:
        os.close(handle)
    return Reply(status=206, data=data, size=found.st_size, etag=etag)
