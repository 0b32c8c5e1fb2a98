"""Bytes of a canonical href: the one protocol between the pixels and the archives.

`ByteSource` signs at the read, keeps a bounded number of requests in flight, and turns whatever
servers do into bytes of the right length or one of this package's errors. Two transports fit
under it, obstore (default) and fsspec with aiohttp, chosen per pipeline.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, override

from geostack_dagster.auth.signer import SignedRequest, Signer
from geostack_dagster.domain.hrefs import Href, SignedHref, basename, locate
from geostack_dagster.errors import ConfigurationError, GeostackError, ServiceError
from geostack_dagster.stack.reader import loop as background
from geostack_dagster.stack.reader.aiohttp_transport import AiohttpTransport
from geostack_dagster.stack.reader.local import LocalTransport
from geostack_dagster.stack.reader.obstore_transport import ObstoreTransport
from geostack_dagster.stack.reader.ranges import Coalescing, coalesce
from geostack_dagster.stack.reader.refusal import Verdict, failed, judge, refused, retry_after_s
from geostack_dagster.stack.reader.transport import Ask, Buffer, Reply, Transport, strong

type TransportName = Literal["obstore", "fsspec"]

_TRANSPORTS: dict[str, type[ObstoreTransport] | type[AiohttpTransport]] = {
    "obstore": ObstoreTransport,
    "fsspec": AiohttpTransport,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPolicy:
    """Limits and patience; providers that allow few connections want a small `in_flight`."""

    in_flight: int = 128
    """Requests on their way or waiting to be decoded, over all files."""
    coalescing: Coalescing = field(default_factory=Coalescing)
    attempts: int = 5
    backoff_s: float = 0.2
    """First pause between attempts; it doubles, with jitter."""
    patience_s: float = 60.0
    """Longest Retry-After that is waited for; a longer one is the caller's to schedule."""
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.in_flight < 1 or self.attempts < 1:
            raise ConfigurationError(
                f"in_flight and attempts must be at least 1, not {self.in_flight} and "
                f"{self.attempts}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The first bytes of an object and what the server said about the rest."""

    data: Buffer = field(repr=False)
    size: int | None
    etag: str | None


@dataclass(slots=True)
class Traffic:
    """What reading cost so far."""

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    renewals: int = 0


class ByteSource:
    """Ranges of canonical hrefs; methods are awaited on the background loop (`loop.wait`).

    Args:
        signer: Opens protected hrefs at the moment of reading; None for open data and files.
        transport: `obstore` or `fsspec`.
        policy: Limits and patience.
    """

    def __init__(
        self,
        signer: Signer | None = None,
        *,
        transport: TransportName = "obstore",
        policy: FetchPolicy | None = None,
    ) -> None:
        if transport not in _TRANSPORTS:
            raise ConfigurationError(
                f"unknown transport {transport!r}; choose one of {', '.join(_TRANSPORTS)}"
            )
        self.signer = signer
        self.transport: TransportName = transport
        self.policy = policy or FetchPolicy()
        self.traffic = Traffic()
        self.slots = asyncio.Semaphore(self.policy.in_flight)
        """Held by whoever fetches, until the bytes are used: bounds memory as well."""
        self._remote: Transport | None = None
        self._local = LocalTransport()

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Travel as configuration: connections and credentials are found anew at the other end."""
        return (_rebuild, (self.signer, self.transport, self.policy))

    async def opening(self, href: Href, nbytes: int) -> Opening:
        """The first `nbytes` of the object, or all of a smaller one.

        Raises:
            AssetError: If there is no such object, or it is not what the server sends.
            CredentialError: If access was refused.
            ServiceError: If the archive stayed busy.
        """
        async with self.slots:
            reply = await self._persist(href, 0, nbytes, None)
        return Opening(data=reply.data, size=reply.size, etag=strong(reply.etag))

    async def fetch(self, href: Href, start: int, stop: int, *, etag: str | None = None) -> Buffer:
        """Exactly these bytes, in one request; the caller holds one of `slots`.

        Raises:
            StaleError: If the object has another entity tag by now, or ends before `stop`.
            AssetError, CredentialError, ServiceError: As for `opening`.
        """
        reply = await self._persist(href, start, stop, etag)
        if len(reply.data) != stop - start:
            raise failed(href, Reply(status=416, data=b""))
        return reply.data

    async def ranges(
        self, href: Href, starts: Sequence[int], stops: Sequence[int], *, etag: str | None = None
    ) -> list[memoryview]:
        """The bytes of every range, in the order asked, fetched in as few requests as agreed."""
        found: list[memoryview] = [memoryview(b"")] * len(starts)

        async def one(start: int, stop: int, members: Sequence[int]) -> None:
            async with self.slots:
                data = memoryview(await self.fetch(href, start, stop, etag=etag))
            for number in members:
                found[number] = data[starts[number] - start : stops[number] - start]

        spans = coalesce(starts, stops, self.policy.coalescing)
        await background.together(one(span.start, span.stop, span.members) for span in spans)
        return found

    async def close(self) -> None:
        """Give connections back; a later read opens new ones."""
        if self._remote is not None:
            remote, self._remote = self._remote, None
            await remote.close()

    async def _persist(self, href: Href, start: int, stop: int, etag: str | None) -> Reply:
        failures, renewed = 0, False
        while True:
            request = await self._sign(href)
            ask = Ask(request=request, start=start, stop=stop, etag=etag, again=failures > 0)
            reply = await self._exchange(ask)
            verdict = Verdict.AGAIN if reply is None else judge(reply, ask)
            if reply is not None and verdict is Verdict.GOOD:
                self.traffic.bytes += len(reply.data)
                return reply
            if reply is not None and verdict is Verdict.RENEW:
                if renewed or not await self._renew(href, request):
                    raise refused(
                        href, reply, scope=self._scope(href), credential=request.credential
                    )
                renewed = True
                continue
            failures += 1
            if verdict is Verdict.STOP or failures == self.policy.attempts:
                raise _gave_up(href, reply, failures)
            await self._pause(href, failures, reply)

    async def _exchange(self, ask: Ask) -> Reply | None:
        self.traffic.requests += 1
        try:
            return await self._carrier(ask.request.url).get(ask)
        except OSError:
            return None

    def _carrier(self, url: SignedHref) -> Transport:
        scheme = locate(url).scheme
        if scheme == "file":
            return self._local
        if scheme not in ("http", "https"):
            raise ConfigurationError(
                f"cannot read {scheme}:// without a signer that knows its endpoint"
            )
        if self._remote is None:
            self._remote = _TRANSPORTS[self.transport](
                connections=self.policy.in_flight, timeout_s=self.policy.timeout_s
            )
            background.close_after(self, self._remote.close)
        return self._remote

    async def _sign(self, href: Href) -> SignedRequest:
        signer = self.signer
        if signer is None:
            return SignedRequest(SignedHref(href))
        # A signer may have to wait for a token service: never on the loop.
        return await background.run(lambda: signer.sign(href), background.signing_pool())

    async def _renew(self, href: Href, denied: SignedRequest) -> bool:
        signer = self.signer
        if signer is None:
            return False
        self.traffic.renewals += 1
        return await background.run(lambda: signer.forget(href, denied), background.signing_pool())

    def _scope(self, href: Href) -> str:
        return "" if self.signer is None else self.signer.scope(href)

    async def _pause(self, href: Href, failures: int, reply: Reply | None) -> None:
        self.traffic.retries += 1
        asked = None if reply is None else retry_after_s(reply)
        if asked is not None and asked > self.policy.patience_s:
            raise _gave_up(href, reply, failures)
        backoff = self.policy.backoff_s * 2 ** (failures - 1) * (0.5 + random.random())  # noqa: S311
        await asyncio.sleep(backoff if asked is None else asked)


def _rebuild(signer: Signer | None, transport: TransportName, policy: FetchPolicy) -> ByteSource:
    return ByteSource(signer, transport=transport, policy=policy)


def _gave_up(href: Href, reply: Reply | None, attempts: int) -> GeostackError:
    error = _no_answer(href) if reply is None else failed(href, reply)
    error.attempts = attempts
    return error


def _no_answer(href: Href) -> ServiceError:
    return ServiceError(
        f"{locate(href).host} did not answer for {basename(href)}; check the network, the proxy "
        "(HTTPS_PROXY) and the certificates (SSL_CERT_FILE)"
    )
