"""Asking the Process API: signed now, a bounded number at a time, as patiently as bytes are read.

The policy is that of `reader.source`; what differs is that a rendering is a POST without ranges,
and that Sentinel Hub writes Retry-After in milliseconds and explains refusals in JSON.
"""

import json
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, override

import httpx

from geostack_dagster.auth.signer import SignedRequest, Signer
from geostack_dagster.domain.hrefs import Href, locate, redact
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    GeostackError,
    Reason,
    ServiceError,
)
from geostack_dagster.providers import Provider, provider_named
from geostack_dagster.stack.reader.refusal import (
    Verdict,
    is_html,
    is_login_page,
    refused,
    retry_after_s,
)
from geostack_dagster.stack.reader.source import FetchPolicy, Traffic
from geostack_dagster.stack.reader.transport import BUSY, Reply

_POLICY = FetchPolicy(timeout_s=120.0)
_REFUSED = {401, 403}
# The gateway loses a body now and then (openeo-geotrellis retries it as well).
_LOST_BODY = "Request body should be non-empty"
_MISSING_FILE = "HTTP Status: '404'"
_WORDS = 400
"""Characters of an explanation that are worth repeating."""


class ProcessService:
    """The Process API of one provider; travels as configuration.

    Args:
        provider: Names the address, and the limits to keep to.
        signer: Gives the bearer token, and renews one that was refused.
        policy: Attempts and patience.
    """

    def __init__(
        self, provider: Provider, signer: Signer, *, policy: FetchPolicy | None = None
    ) -> None:
        self.provider = provider
        self.signer = signer
        self.policy = policy or _POLICY
        self.traffic = Traffic()
        self.href = Href(provider.endpoints["process"])
        self._client: httpx.Client | None = None
        self._opening = threading.Lock()

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Travel as configuration: connections and tokens are found anew at the other end."""
        return (_rebuild, (self.provider.slug, self.signer, self.policy))

    def post[T](self, body: Mapping[str, Any], media: str, read: Callable[[bytes], T]) -> T:
        """What `read` makes of the answer; asked again where it raises `AssetError`.

        Raises:
            AssetError: If the answer is not what was asked for, every time.
            ConfigurationError: If the service says that the request is wrong.
            CredentialError: If it refuses the token, also a renewed one.
            ServiceError: If it stays busy or does not answer.
        """
        content = json.dumps(body).encode()
        failures, renewed = 0, False
        while True:
            request = self.signer.sign(self.href)
            reply = self._exchange(request, content, media)
            verdict = Verdict.AGAIN if reply is None else _judge(reply, media)
            error: GeostackError | None = None
            if reply is not None and verdict is Verdict.GOOD:
                try:
                    return read(bytes(reply.data))
                except AssetError as unreadable:
                    error = unreadable
            elif reply is not None and verdict is Verdict.RENEW:
                if renewed or not self._renew(request):
                    raise self._refusal(reply, request)
                renewed = True
                continue
            failures += 1
            error = error or self._failure(reply)
            error.attempts = failures
            if verdict is Verdict.STOP or failures == self.policy.attempts:
                raise error
            self._pause(failures, error)

    def _exchange(self, request: SignedRequest, content: bytes, media: str) -> Reply | None:
        headers = {**request.headers, "Content-Type": "application/json", "Accept": media}
        client = self._connected()
        with _slots(self.provider):
            self.traffic.requests += 1
            try:
                answer = client.post(request.url, content=content, headers=headers)
            except httpx.HTTPError:  # its message may hold the request; that it failed is enough
                return None
        self.traffic.bytes += len(answer.content)
        return Reply(
            status=answer.status_code,
            data=answer.content,
            headers={name.lower(): value for name, value in answer.headers.items()},
        )

    def _connected(self) -> httpx.Client:
        with self._opening:
            if self._client is None:
                # Redirects are not followed: the token is for this address.
                self._client = httpx.Client(timeout=self.policy.timeout_s)
                weakref.finalize(self, self._client.close)
            return self._client

    def _renew(self, denied: SignedRequest) -> bool:
        self.traffic.renewals += 1
        return self.signer.forget(self.href, denied)

    def _refusal(self, reply: Reply, request: SignedRequest) -> GeostackError:
        scope = self.signer.scope(self.href)
        return refused(self.href, reply, scope=scope, credential=request.credential)

    def _failure(self, reply: Reply | None) -> GeostackError:
        where = locate(self.href).host
        if reply is None:
            return ServiceError(
                f"{where} did not answer; check the network, the proxy (HTTPS_PROXY) and the "
                "certificates (SSL_CERT_FILE)"
            )
        if is_html(reply):
            return AssetError(
                f"{where} sent a web page instead of pixels; open it to see why",
                reason=Reason.WEB_PAGE,
            )
        said = f"{where} answered {reply.status}: {_explained(reply)}"
        if _MISSING_FILE in said:
            return AssetError(
                f"{said}. The service lacks a file of the scene; leave the item out",
                status=HTTPStatus.NOT_FOUND,
            )
        if reply.status in BUSY:
            asked = retry_after_s(reply)
            unit_s = self.provider.limits.retry_after_unit_s
            return ServiceError(
                said,
                retry_after_s=None if asked is None else asked * unit_s,
                status=reply.status,
            )
        return ConfigurationError(said)

    def _pause(self, failures: int, error: GeostackError) -> None:
        self.traffic.retries += 1
        asked = (error.retry_after_s if isinstance(error, ServiceError) else None) or 0.0
        if asked > self.policy.patience_s:
            raise error
        backoff = self.policy.backoff_s * 2 ** (failures - 1) * (0.5 + random.random())  # noqa: S311
        time.sleep(max(backoff, asked))


def _judge(reply: Reply, media: str) -> Verdict:
    kind = media.rpartition("/")[2].removeprefix("x-")  # it answers x-tar with tar, or x-tar
    if reply.status == 200 and kind in reply.headers.get("content-type", ""):
        return Verdict.GOOD
    if reply.status in _REFUSED or is_login_page(reply):
        return Verdict.RENEW
    if reply.status in BUSY or _LOST_BODY in _explained(reply):
        return Verdict.AGAIN
    return Verdict.STOP


def _explained(reply: Reply) -> str:
    """Code and message of a refusal, which stand alone or under `error`; else how it begins."""
    text = bytes(reply.data[:65536]).decode(errors="replace")
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        error = document.get("error", document)
        if isinstance(error, dict):
            text = f"{error.get('message', '')} ({error.get('code', error.get('reason', ''))})"
    return redact(" ".join(text.split())[:_WORDS])


_held: dict[tuple[str, int], threading.BoundedSemaphore] = {}
_holding = threading.Lock()


def _slots(provider: Provider) -> threading.BoundedSemaphore:
    """Leave to have one more request under way, shared by all of this process."""
    key = (provider.slug, os.getpid())  # a forked child inherits no request
    with _holding:
        if key not in _held:
            _held[key] = threading.BoundedSemaphore(provider.limits.concurrent_reads)
        return _held[key]


def _rebuild(slug: str, signer: Signer, policy: FetchPolicy) -> ProcessService:
    return ProcessService(provider_named(slug), signer, policy=policy)
