"""Amazon S3 twin: public buckets for anyone, all others refused, wrong regions redirected."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from geostack_dagster.sandbox.bodies import (
    UnsatisfiableRangeError,
    send_object,
    send_xml,
    span_of,
)
from geostack_dagster.sandbox.objects import Vault

HOST = re.compile(r"(?:(?P<bucket>.+)\.)?s3[.-](?:(?P<region>[a-z]+-[a-z]+-\d)\.)?amazonaws\.com")
_MAX_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket lies and who pays."""

    region: str
    is_public: bool


BUCKETS = {
    "sentinel-cogs": Bucket("us-west-2", is_public=True),
    "e84-earth-search-sentinel-data": Bucket("us-west-2", is_public=True),
    # Requester pays: closed to anyone without an account.
    "sentinel-s2-l2a": Bucket("eu-central-1", is_public=False),
    "sentinel-s2-l1c": Bucket("eu-central-1", is_public=False),
    "sentinel-s1-l1c": Bucket("eu-central-1", is_public=False),
    "usgs-landsat": Bucket("us-west-2", is_public=False),
}
_MESSAGES = {
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "AccessDenied": (403, "Access Denied"),
    "InvalidAccessKeyId": (
        403,
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "PermanentRedirect": (
        301,
        (
            "The bucket you are attempting to access must be addressed using the specified "
            "endpoint. Please send all future requests to this endpoint."
        ),
    ),
}


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
    def bucket(self) -> Bucket | None:
        """The bucket, if there is one of that name."""
        return BUCKETS.get(self.name)


class S3Twin:
    """Serves `<bucket>.s3.<region>.amazonaws.com` and `s3.<region>.amazonaws.com/<bucket>`."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        ask = _asked(Request(scope, receive))
        refusal = _refusal(ask)
        if refusal is not None:
            await self._error(ask, send, refusal)
        elif not ask.key:
            await self._list(ask.request, send, ask.name)
        else:
            await self._get(ask, send)

    async def _get(self, ask: _Ask, send: Send) -> None:
        stored = self._vault.find("s3", ask.name, ask.key)
        if stored is None:
            await self._error(ask, send, "NoSuchKey")
            return
        try:
            span = span_of(ask.request.headers, stored.size)
        except UnsatisfiableRangeError:
            await self._error(ask, send, "InvalidRange")
            return
        extra = _common() | {
            "etag": f'"{stored.etag}"',
            "x-amz-server-side-encryption": "AES256",
        }
        await send_object(stored, span, extra, send, is_head=ask.request.method == "HEAD")

    async def _list(self, request: Request, send: Send, bucket: str) -> None:
        query = request.query_params
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after") or ""
        limit = min(int(query.get("max-keys", _MAX_KEYS)), _MAX_KEYS)
        entries: dict[str, bool] = {}
        for key in self._vault.keys("s3", bucket, prefix):
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            entries[prefix + head + delimiter if cut else key] = bool(cut)
        names = [name for name in entries if name > after]
        shown = names[:limit]
        is_cut = len(names) > limit
        head = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<KeyCount>{len(shown)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
            f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>"
        )
        parts = [head]
        if is_cut:
            parts.append(f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>")
        parts += [self._listed(bucket, name, is_folder=entries[name]) for name in shown]
        await send_xml(200, "".join([*parts, "</ListBucketResult>"]), _common(), send)

    def _listed(self, bucket: str, name: str, *, is_folder: bool) -> str:
        if is_folder:
            return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        stored = self._vault.find("s3", bucket, name)
        if stored is None:
            return ""
        return (
            f"<Contents><Key>{escape(name)}</Key><LastModified>"
            f"{stored.modified.strftime('%Y-%m-%dT%H:%M:%S.000Z')}</LastModified>"
            f"<ETag>&quot;{stored.etag}&quot;</ETag><Size>{stored.size}</Size>"
            "<StorageClass>INTELLIGENT_TIERING</StorageClass></Contents>"
        )

    async def _error(self, ask: _Ask, send: Send, code: str) -> None:
        status, message = _MESSAGES[code]
        common = _common()
        endpoint = ""
        if ask.bucket is not None:
            common["x-amz-bucket-region"] = ask.bucket.region
        if ask.bucket is not None and code == "PermanentRedirect":
            host = f"s3.{ask.bucket.region}.amazonaws.com"
            if ask.is_virtual_host:  # GDAL insists on the form that it asked with
                host = f"{ask.name}.{host}"
            endpoint = f"<Endpoint>{host}</Endpoint><Bucket>{ask.name}</Bucket>"
        document = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}'
            f"</Message>{endpoint}<RequestId>{common['x-amz-request-id']}</RequestId>"
            f"<HostId>{common['x-amz-id-2']}</HostId></Error>"
        )
        await send_xml(status, document, common, send, is_head=ask.request.method == "HEAD")


def _asked(request: Request) -> _Ask:
    host = HOST.fullmatch(request.headers["host"].partition(":")[0])
    name, region = (host["bucket"], host["region"]) if host else (None, None)
    key = request.url.path.lstrip("/")
    if name is not None:
        return _Ask(request, name, key, region, is_virtual_host=True)
    name, _, key = key.partition("/")
    return _Ask(request, name, key, region, is_virtual_host=False)


def _refusal(ask: _Ask) -> str | None:
    request, bucket = ask.request, ask.bucket
    if bucket is None:
        return "NoSuchBucket"
    if ask.region not in (None, bucket.region):  # the global endpoint finds every bucket
        return "PermanentRedirect"
    query = request.query_params
    if "authorization" in request.headers or "X-Amz-Signature" in query:
        return "InvalidAccessKeyId"  # no account exists in this world
    if not bucket.is_public:
        return "AccessDenied"
    if request.method not in ("GET", "HEAD"):
        return "AccessDenied"
    return None


def _common() -> dict[str, str]:
    token = secrets.token_hex(8).upper()
    return {
        "server": "AmazonS3",
        "x-amz-request-id": token,
        "x-amz-id-2": hashlib.sha256(token.encode()).hexdigest(),
        "date": format_datetime(datetime.now(UTC), usegmt=True),
    }
