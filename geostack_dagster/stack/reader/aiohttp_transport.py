"""Exchanges through fsspec's HTTP file system and aiohttp: slower, but shows the whole answer."""

import asyncio
import ssl
from typing import Any, override

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from geostack_dagster.stack.reader.ranges import MIB
from geostack_dagster.stack.reader.transport import Ask, Reply, Transport, total_size

_WHOLE_LIMIT = 8 * MIB  # a server that ignores Range may send this much and no more
_REFUSAL_LIMIT = 64 * 1024


class AiohttpTransport(Transport):
    """A pooled aiohttp session that honours HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE."""

    def __init__(self, *, connections: int = 128, timeout_s: float = 60.0) -> None:
        self._connections = connections
        self._timeout_s = timeout_s
        self._files: HTTPFileSystem | None = None
        self._opening = asyncio.Lock()

    @override
    async def get(self, ask: Ask) -> Reply:
        session, url = await self._session(ask)
        headers = {
            **ask.request.headers,
            "Range": f"bytes={ask.start}-{ask.stop - 1}",
            "Accept-Encoding": "identity",
        }
        if ask.etag is not None:
            headers["If-Match"] = ask.etag
        try:
            async with session.get(url, headers=headers) as response:
                return await _reply(response)
        except aiohttp.ClientError as error:
            # The message of a ClientError can hold the signed URL: keep its class only.
            reason = type(error).__name__
        except TimeoutError:
            reason = f"no answer within {self._timeout_s:g} s"
        raise OSError(reason)

    @override
    async def close(self) -> None:
        if self._files is not None:
            session = await self._files.set_session()
            await session.close()
            self._files = None

    async def _session(self, ask: Ask) -> tuple[Any, Any]:
        async with self._opening:
            if self._files is None:
                self._files = HTTPFileSystem(
                    asynchronous=True,
                    encoded=True,
                    skip_instance_cache=True,
                    get_client=_client,
                    client_kwargs={"limit": self._connections, "timeout_s": self._timeout_s},
                )
            session = await self._files.set_session()
        return session, self._files.encode_url(ask.request.url)


async def _client(
    *, limit: int, timeout_s: float, loop: object = None, **options: Any
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # aiohttp reads SSL_CERT_FILE when it is imported; a certificate set later counts as well.
        connector=aiohttp.TCPConnector(
            limit=limit, ttl_dns_cache=300, ssl=ssl.create_default_context()
        ),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        # A login's cookie would go on opening files after its token, and for other accounts.
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
        **options,
    )


async def _reply(response: aiohttp.ClientResponse) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    size, etag = total_size(headers.get("content-range")), headers.get("etag")
    if response.status == 206:
        return Reply(status=206, data=await response.read(), size=size, etag=etag)
    limit = _WHOLE_LIMIT if response.status == 200 else _REFUSAL_LIMIT
    data = await _at_most(response, limit)
    return Reply(status=response.status, data=data, size=size, etag=etag, headers=headers)


async def _at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    chunks, length = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        length += len(chunk)
        if length > limit:
            response.close()
            break
    return b"".join(chunks)
