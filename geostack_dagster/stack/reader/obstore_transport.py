"""Exchanges through obstore: Rust, no interpreter lock, one connection pool per host and token.

A token goes into the base URL or the default headers of an `HTTPStore`, which keeps it on every
request; a store is therefore shared by all objects that one token opens, and replaced when the
token is. S3 signatures hold for one object only: there an `S3Store` signs with the same keys.
Credentials are never left to obstore to renew: with less than 300 s left it asks on every read.

obstore tells success from failure, but hides the headers and, in part, the body of a refusal.
What was refused is therefore asked again through `AiohttpTransport`, which shows all of it: an
`ExpiredToken` code, a login page, Retry-After. A busy server is left alone for a moment first.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Any, override
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import HTTPStore, S3Store

from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.stack.reader.aiohttp_transport import AiohttpTransport
from geostack_dagster.stack.reader.transport import BUSY, Ask, Reply, Transport, strong

_MAX_STORES = 256
# obstore's own retries would hide 429 from us and ignore Retry-After.
_NO_RETRY: Any = {"max_retries": 0}

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_SIGV4_REGION = re.compile(r"Credential=[^/]+/[0-9]{8}/([^/]+)/s3/")


class ObstoreTransport(Transport):
    """The default transport; honours HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE."""

    def __init__(self, *, connections: int = 256, timeout_s: float = 60.0) -> None:
        self._options: Any = {
            "allow_http": True,
            "timeout": timedelta(seconds=timeout_s),
            "connect_timeout": timedelta(seconds=min(timeout_s, 20)),
            "pool_max_idle_per_host": str(connections),
        }
        self._stores: OrderedDict[tuple[object, ...], HTTPStore | S3Store] = OrderedDict()
        self._careful = AiohttpTransport(connections=connections, timeout_s=timeout_s)

    @override
    async def get(self, ask: Ask) -> Reply:
        reply = None if ask.again else await self._fast(ask)
        return reply if reply is not None else await self._careful.get(ask)

    @override
    async def close(self) -> None:
        self._stores.clear()
        await self._careful.close()

    async def _fast(self, ask: Ask) -> Reply | None:
        options: Any = {"range": (ask.start, ask.stop)}
        if ask.etag is not None:
            options["if_match"] = ask.etag
        try:
            store, path = self._store(ask)
            result = await obstore.get_async(store, path, options=options)
            data = await result.buffer_async()
        except (BaseError, OSError, ValueError) as error:
            # The message holds the signed URL: take the status out of it and drop the rest.
            found = _STATUS.search(str(error))
            busy = found is not None and int(found[1]) in BUSY
            return Reply(status=int(found[1]), data=b"") if found and busy else None
        meta = result.meta
        return Reply(
            status=206, data=memoryview(data), size=meta["size"], etag=strong(meta["e_tag"])
        )

    def _store(self, ask: Ask) -> tuple[HTTPStore | S3Store, str]:
        parts = urlsplit(ask.request.url)
        origin, path = f"{parts.scheme}://{parts.netloc}", unquote(parts.path.lstrip("/"))
        if _is_sigv4(ask.request) and ask.request.credential is not None:
            settings = _s3_settings(origin, ask.request, ask.request.credential)
            return self._kept(("s3", *settings.items()), lambda: self._s3(settings)), path
        headers = dict(sorted(ask.request.headers.items()))
        base = f"{origin}/?{parts.query}" if parts.query else f"{origin}/"
        return self._kept((base, *headers.items()), lambda: self._http(base, headers)), path

    def _kept(
        self, key: tuple[object, ...], build: Callable[[], HTTPStore | S3Store]
    ) -> HTTPStore | S3Store:
        store = self._stores.get(key)
        if store is None:
            store = self._stores[key] = build()
            if len(self._stores) > _MAX_STORES:
                self._stores.popitem(last=False)
        self._stores.move_to_end(key)
        return store

    def _http(self, base: str, headers: dict[str, str]) -> HTTPStore:
        options: Any = {**self._options, "default_headers": headers}
        return HTTPStore(base, client_options=options, retry_config=_NO_RETRY)

    def _s3(self, settings: dict[str, Any]) -> S3Store:
        names = ("access_key_id", "secret_access_key", "token", "expires_at")
        keys: Any = {name: settings.get(name) for name in names}
        rest = {name: value for name, value in settings.items() if name not in names}
        return S3Store(
            "bucket",
            **rest,
            # Not as settings: next to those, obstore takes AWS_SESSION_TOKEN from the environment.
            credential_provider=lambda: keys,
            client_options=self._options,
            retry_config=_NO_RETRY,
        )


def _is_sigv4(request: SignedRequest) -> bool:
    return request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256")


def _s3_settings(origin: str, request: SignedRequest, credential: Credential) -> dict[str, Any]:
    """A store that signs by itself: SigV4 headers are good for one object and a few minutes.

    The whole origin counts as the bucket's host, so that virtual-host and path style are one case.
    """
    found = _SIGV4_REGION.search(request.headers["Authorization"])
    values = credential.values
    return {
        "endpoint": origin,
        "virtual_hosted_style_request": True,
        "region": found[1] if found else "us-east-1",
        "access_key_id": values["access_key_id"],
        "secret_access_key": values["secret_access_key"],
        "token": values.get("token"),
        "request_payer": "x-amz-request-payer" in request.headers,
    }
