"""AWS Signature Version 4 for reading one S3 object, in headers.

Headers rather than a presigned URL: the URL stays free of secrets, so a reader's error message or
cache key that holds it gives nothing away. The method is part of the signature: these headers open
the object for GET (any range), not for HEAD.

Source: AWS, "Signature Version 4 signing process", and "Authenticating Requests" for S3.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.domain.hrefs import SignedHref

_ALGORITHM = "AWS4-HMAC-SHA256"
_EMPTY_BODY = hashlib.sha256(b"").hexdigest()
_UNRESERVED = "-_.~"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Keys:
    """An access key and the region its signatures are for."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    region: str
    token: str | None = field(default=None, repr=False)
    """Session token of temporary keys."""


def request(
    url: str, credential: Credential, *, region: str, extra: Mapping[str, str] | None = None
) -> SignedRequest:
    """A GET of `url` with `access_key_id`, `secret_access_key` and perhaps `token`."""
    values = credential.values
    keys = S3Keys(
        key_id=values["access_key_id"],
        secret=values["secret_access_key"],
        token=values.get("token"),
        region=region,
    )
    headers = signed_headers(url, keys, now=datetime.now(UTC), extra=extra)
    return SignedRequest(SignedHref(url), headers, credential)


def signed_headers(
    url: str, keys: S3Keys, *, now: datetime, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Headers that open `url` for GET until 15 minutes after `now`.

    `extra` headers (lower-case names) are signed and returned as well.
    """
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"x-amz-content-sha256": _EMPTY_BODY, "x-amz-date": stamp, **(extra or {})}
    if keys.token is not None:
        headers["x-amz-security-token"] = keys.token
    names = sorted(("host", *headers))
    scope = f"{stamp[:8]}/{keys.region}/s3/aws4_request"
    canonical = _canonical_request(url, names, headers)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = hmac.new(
        _signing_key(keys.secret, scope),
        f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}".encode(),
        hashlib.sha256,
    ).hexdigest()
    headers["Authorization"] = (
        f"{_ALGORITHM} Credential={keys.key_id}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return headers


def _canonical_request(url: str, names: list[str], headers: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    path = quote(unquote(parts.path) or "/", safe=f"/{_UNRESERVED}")
    query = "&".join(
        f"{quote(key, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}"
        for key, value in sorted(parse_qsl(parts.query, keep_blank_values=True))
    )
    values = {**headers, "host": parts.netloc}
    lines = "".join(f"{name}:{' '.join(values[name].split())}\n" for name in names)
    return f"GET\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{_EMPTY_BODY}"


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
