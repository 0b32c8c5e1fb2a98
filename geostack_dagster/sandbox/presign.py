"""Presigned S3 URLs, as a download gateway hands them to whoever has logged in there."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote

from geostack_dagster.sandbox import clock
from geostack_dagster.sandbox.keyring import AccessKey
from geostack_dagster.sandbox.sigv4_check import (
    ALGORITHM,
    LONGEST_S,
    STAMP,
    UNRESERVED,
    UNSIGNED_BODY,
    Signed,
    canonical_request,
    signature,
)


def presigned(
    path: str, host: str, key: AccessKey, *, method: str, region: str, extra: Mapping[str, str]
) -> str:
    """Query that opens a path on a host until the key dies.

    Args:
        path: Percent-encoded path.
        host: Host of the bucket.
        key: Temporary key to sign with.
        method: `GET` or `HEAD`; it opens nothing else.
        region: Region of the bucket.
        extra: Further parameters, signed as well.
    """
    now = clock.now()
    stamp = now.strftime(STAMP)
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    said = {
        **extra,
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{key.key_id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(_lifetime_s(key, now)),
        "X-Amz-SignedHeaders": "host",
        **({} if key.token is None else {"X-Amz-Security-Token": key.token}),
    }
    signed = Signed(method=method, path=path, query=tuple(said.items()), headers={"host": host})
    canonical = canonical_request(signed, ("host",), UNSIGNED_BODY)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    proof = signature(key.secret, scope, f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}")
    pairs = [*said.items(), ("X-Amz-Signature", proof)]
    return "&".join(f"{name}={quote(value, safe=UNRESERVED)}" for name, value in pairs)


def _lifetime_s(key: AccessKey, now: datetime) -> int:
    """Whole seconds until the key dies, rounded up."""
    left = (key.expires_at or now + timedelta(seconds=LONGEST_S)) - now
    return min(max(int(left.total_seconds()) + 1, 1), LONGEST_S)
