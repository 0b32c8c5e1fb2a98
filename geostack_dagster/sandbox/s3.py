"""S3 twin: buckets for anyone, for keys, and for whoever pays; real signatures, real refusals."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from geostack_dagster.sandbox.bodies import (
    UnsatisfiableRangeError,
    has_changed,
    send_object,
    send_xml,
    span_of,
)
from geostack_dagster.sandbox.faults import is_expired_by_fault
from geostack_dagster.sandbox.keyring import AccessKey, Keyring
from geostack_dagster.sandbox.objects import Vault
from geostack_dagster.sandbox.s3_errors import House
from geostack_dagster.sandbox.s3_listing import listing
from geostack_dagster.sandbox.sigv4_check import RefusedError, Signed, reader

HOST = re.compile(r"(?:(?P<bucket>.+)\.)?s3[.-](?:(?P<region>[a-z]+-[a-z]+-\d)\.)?amazonaws\.com")


class Access(StrEnum):
    """Who may read a bucket."""

    OPEN = "open"
    KEYS = "keys"
    REQUESTER_PAYS = "requester-pays"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket lies and who may read it."""

    region: str | None
    """None where a service has no regions and takes signatures for any."""
    access: Access


BUCKETS = {
    "sentinel-cogs": Bucket("us-west-2", Access.OPEN),
    "e84-earth-search-sentinel-data": Bucket("us-west-2", Access.OPEN),
    "sentinel-s2-l2a": Bucket("eu-central-1", Access.REQUESTER_PAYS),
    "sentinel-s2-l1c": Bucket("eu-central-1", Access.REQUESTER_PAYS),
    "sentinel-s1-l1c": Bucket("eu-central-1", Access.REQUESTER_PAYS),
    "usgs-landsat": Bucket("us-west-2", Access.REQUESTER_PAYS),
    "lp-prod-protected": Bucket("us-west-2", Access.KEYS),
    "lp-prod-public": Bucket("us-west-2", Access.OPEN),
}
"""Buckets of Amazon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Service:
    """One service: its buckets, the keys it knows, its hosts and its ways."""

    buckets: Mapping[str, Bucket]
    keyring: Keyring
    host: re.Pattern[str]
    """With groups `bucket` and `region` where the service has such host names."""
    house: House


@dataclass(frozen=True, slots=True)
class _Ask:
    """What a request is about."""

    request: Request
    name: str
    key: str
    region: str | None
    """Region of the endpoint; None for the global one."""
    is_virtual_host: bool
    """Whether the bucket stands in the host name."""

    @property
    def is_head(self) -> bool:
        return self.request.method == "HEAD"


class S3Twin:
    """Serves `<bucket>.<service>/<key>`, where the service has such hosts, and path style."""

    def __init__(self, vault: Vault, service: S3Service) -> None:
        self._vault = vault
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        ask = self._asked(Request(scope, receive))
        try:
            paid = self._admit(ask)
            if ask.key:
                await self._get(ask, paid, send)
            else:
                document = listing(self._vault, ask.name, ask.request.query_params)
                await send_xml(200, document, self._service.house.common(), send)
        except RefusedError as refusal:
            await self._refuse(ask, refusal, send)

    def _asked(self, request: Request) -> _Ask:
        host = self._service.host.fullmatch(request.headers["host"].partition(":")[0])
        groups = host.groupdict() if host else {}
        name, region = groups.get("bucket"), groups.get("region")
        key = request.url.path.lstrip("/")
        if name is not None:
            return _Ask(request, name, key, region, is_virtual_host=True)
        name, _, key = key.partition("/")
        return _Ask(request, name, key, region, is_virtual_host=False)

    def _admit(self, ask: _Ask) -> dict[str, str]:
        """Headers that say who pays; raises what the request is refused with."""
        bucket = self._service.buckets.get(ask.name)
        if bucket is None:
            raise RefusedError("NoSuchBucket", BucketName=ask.name)
        if bucket.region is not None and ask.region not in (None, bucket.region):
            raise self._redirect(ask, bucket)  # the global endpoint finds every bucket
        signed = Signed.of(ask.request)
        key = reader(signed, self._service.keyring, region=bucket.region)
        if key is not None and is_expired_by_fault(ask.request.scope):
            raise RefusedError("InvalidAccessKeyId" if key.token is None else "ExpiredToken")
        is_read = ask.request.method in ("GET", "HEAD")
        if not is_read or not _may_read(bucket, ask.name, key):
            raise RefusedError("AccessDenied")
        if bucket.access is not Access.REQUESTER_PAYS:
            return {}
        if "requester" not in (
            signed.headers.get("x-amz-request-payer"),
            signed.parameter("x-amz-request-payer"),
        ):
            raise RefusedError("AccessDenied")
        return {"x-amz-request-charged": "requester"}

    def _redirect(self, ask: _Ask, bucket: Bucket) -> RefusedError:
        host = f"s3.{bucket.region}.amazonaws.com"
        if ask.is_virtual_host:  # GDAL insists on the form that it asked with
            host = f"{ask.name}.{host}"
        return RefusedError("PermanentRedirect", Endpoint=host, Bucket=ask.name)

    async def _get(self, ask: _Ask, paid: Mapping[str, str], send: Send) -> None:
        stored = self._vault.find("s3", ask.name, ask.key)
        if stored is None:
            raise RefusedError("NoSuchKey", Key=ask.key)
        headers = ask.request.headers
        if has_changed(headers, stored.etag):
            raise RefusedError("PreconditionFailed", Condition="If-Match")
        try:
            span = span_of(headers, stored.size)
        except UnsatisfiableRangeError as error:
            raise RefusedError("InvalidRange", RangeRequested=error) from error
        extra = self._service.house.common() | {
            **paid,
            "etag": f'"{stored.etag}"',
            "x-amz-server-side-encryption": "AES256",
        }
        await send_object(stored, span, extra, send, is_head=ask.is_head)

    async def _refuse(self, ask: _Ask, refusal: RefusedError, send: Send) -> None:
        house = self._service.house
        common = house.common()
        bucket = self._service.buckets.get(ask.name)
        if bucket is not None and bucket.region is not None:
            common["x-amz-bucket-region"] = bucket.region
        status, document = house.refusal(refusal.code, refusal.message, refusal.elements, common)
        await send_xml(status, document, common, send, is_head=ask.is_head)


def _may_read(bucket: Bucket, name: str, key: AccessKey | None) -> bool:
    return bucket.access is Access.OPEN or (key is not None and name in key.buckets)
