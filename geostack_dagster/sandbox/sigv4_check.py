"""Checks of AWS Signature Version 4, in headers and in presigned URLs, as S3 makes them.

Source: AWS, "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference, and its
list of error responses.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Self
from urllib.parse import quote, unquote

from starlette.requests import Request

from geostack_dagster.sandbox import clock
from geostack_dagster.sandbox.keyring import AccessKey, Keyring

ALGORITHM = "AWS4-HMAC-SHA256"
_EMPTY_BODY = hashlib.sha256(b"").hexdigest()
UNSIGNED_BODY = "UNSIGNED-PAYLOAD"
UNRESERVED = "-_.~"
_SKEW = timedelta(minutes=15)
LONGEST_S = 7 * 24 * 3600
STAMP = "%Y%m%dT%H%M%SZ"
_HEADER = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<credential>[^,\s]+)\s*,"
    r"\s*SignedHeaders=(?P<names>[^,\s]+)\s*,\s*Signature=(?P<signature>\w+)\s*"
)
_ONE_MECHANISM = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query "
    "string parameter or the Authorization header should be specified"
)


class RefusedError(Exception):
    """S3's code for a refusal, a message where it is not the usual one, and more elements."""

    def __init__(self, code: str, message: str | None = None, **elements: object) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.elements = {name.replace("__", "-"): str(value) for name, value in elements.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a signature covers, as it came over the wire."""

    method: str
    path: str
    """Percent-encoded."""
    query: tuple[tuple[str, str], ...]
    """Decoded, in the order of the request."""
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name."""

    @classmethod
    def of(cls, request: Request) -> Self:
        """Those of a request."""
        raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
        text = request.scope["query_string"].decode("latin-1")
        pairs = (part.partition("=") for part in text.split("&") if part)
        return cls(
            method=request.method,
            path=raw.decode("latin-1"),
            query=tuple((unquote(name), unquote(value)) for name, _, value in pairs),
            headers={name: ",".join(request.headers.getlist(name)) for name in request.headers},
        )

    def parameter(self, name: str) -> str | None:
        """A value of the query."""
        return dict(self.query).get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What a request says about its signature."""

    credential: str
    names: tuple[str, ...]
    signature: str
    stamp: str
    body: str
    token: str | None
    is_presigned: bool

    @property
    def scope(self) -> str:
        return self.credential.partition("/")[2]


def reader(signed: Signed, keyring: Keyring, *, region: str | None) -> AccessKey | None:
    """The key that a request is signed with; None if it is not signed.

    Args:
        signed: The request.
        keyring: Keys that the service knows.
        region: Region that signatures must be for; None for a service that takes any.

    Raises:
        RefusedError: If the signature does not hold.
    """
    claim = _claim(signed)
    if claim is None:
        return None
    key_id, _, scope = claim.credential.partition("/")
    _check_scope(claim, scope, region)
    key = keyring.find(key_id)
    if key is None or (key.token is not None and claim.token is None):
        # S3 knows temporary keys only together with their token.
        raise RefusedError("InvalidAccessKeyId", AWSAccessKeyId=key_id)
    if claim.token != key.token:
        raise RefusedError("InvalidToken", Token__0=claim.token)
    if key.is_expired:
        raise RefusedError("ExpiredToken", Token__0=claim.token)
    _check_time(signed, claim)
    _check_signature(signed, claim, key)
    return key


def _claim(signed: Signed) -> _Claim | None:
    header = signed.headers.get("authorization")
    query = dict(signed.query)
    if header is not None and "X-Amz-Signature" in query:
        raise RefusedError(
            "InvalidArgument", _ONE_MECHANISM, ArgumentName="Authorization", ArgumentValue=header
        )
    if header is not None:
        return _claim_of_header(signed, header)
    return _claim_of_query(query) if "X-Amz-Signature" in query else None


def _claim_of_header(signed: Signed, header: str) -> _Claim:
    if not header.startswith("AWS"):
        raise RefusedError(
            "InvalidArgument",
            "Unsupported Authorization Type",
            ArgumentName="Authorization",
            ArgumentValue=header,
        )
    found = _HEADER.fullmatch(header)
    if found is None:
        raise RefusedError("AuthorizationHeaderMalformed")
    body = signed.headers.get("x-amz-content-sha256")
    if body is None:
        missing = "Missing required header for this request: x-amz-content-sha256"
        raise RefusedError("InvalidRequest", missing)
    if body not in (_EMPTY_BODY, UNSIGNED_BODY) and signed.method in ("GET", "HEAD"):
        raise RefusedError("XAmzContentSHA256Mismatch")
    names = tuple(found["names"].split(";"))
    loose = [name for name in signed.headers if name.startswith("x-amz-") and name not in names]
    if loose or "host" not in names:
        raise RefusedError(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(loose or ["host"]),
        )
    return _Claim(
        credential=found["credential"],
        names=names,
        signature=found["signature"],
        stamp=_stamp_of(signed.headers),
        body=body,
        token=signed.headers.get("x-amz-security-token"),
        is_presigned=False,
    )


def _claim_of_query(query: Mapping[str, str]) -> _Claim:
    try:
        lifetime_s = int(query["X-Amz-Expires"])
        claim = _Claim(
            credential=query["X-Amz-Credential"],
            names=tuple(query["X-Amz-SignedHeaders"].split(";")),
            signature=query["X-Amz-Signature"],
            stamp=query["X-Amz-Date"],
            body=UNSIGNED_BODY,
            token=query.get("X-Amz-Security-Token"),
            is_presigned=True,
        )
        _moment(claim.stamp)
    except (KeyError, ValueError) as error:
        raise RefusedError("AuthorizationQueryParametersError") from error
    if query.get("X-Amz-Algorithm") != ALGORITHM or not 0 < lifetime_s <= LONGEST_S:
        raise RefusedError("AuthorizationQueryParametersError")
    return claim


def _stamp_of(headers: Mapping[str, str]) -> str:
    """Time of signing, from `x-amz-date` or else `Date`."""
    stated = headers.get("x-amz-date")
    try:
        if stated is not None:
            _moment(stated)
            return stated
        return parsedate_to_datetime(headers["date"]).astimezone(UTC).strftime(STAMP)
    except (KeyError, ValueError) as error:
        message = "AWS authentication requires a valid Date or x-amz-date header"
        raise RefusedError("AccessDenied", message) from error


def _moment(stamp: str) -> datetime:
    return datetime.strptime(f"{stamp}+0000", f"{STAMP}%z")


def _check_scope(claim: _Claim, scope: str, region: str | None) -> None:
    code = (
        "AuthorizationQueryParametersError"
        if claim.is_presigned
        else "AuthorizationHeaderMalformed"
    )
    parts = scope.split("/")
    if len(parts) != 4 or parts[0] != claim.stamp[:8] or parts[2:] != ["s3", "aws4_request"]:
        raise RefusedError(code)
    if region is not None and parts[1] != region:
        message = (
            "The authorization header is malformed; "
            f"the region '{parts[1]}' is wrong; expecting '{region}'"
        )
        raise RefusedError(code, message, Region=region)


def _check_time(signed: Signed, claim: _Claim) -> None:
    now = clock.now()
    made = _moment(claim.stamp)
    server_time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    if not claim.is_presigned:
        if abs(now - made) > _SKEW:
            raise RefusedError(
                "RequestTimeTooSkewed",
                RequestTime=claim.stamp,
                ServerTime=server_time,
                MaxAllowedSkewMilliseconds=int(_SKEW.total_seconds() * 1000),
            )
        return
    lifetime = signed.parameter("X-Amz-Expires") or ""
    ends = made + timedelta(seconds=int(lifetime))
    if made - now > _SKEW:
        raise RefusedError("AccessDenied", "Request is not yet valid", ServerTime=server_time)
    if now >= ends:
        raise RefusedError(
            "AccessDenied",
            "Request has expired",
            X__Amz__Expires=lifetime,
            Expires=ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
            ServerTime=server_time,
        )


def _check_signature(signed: Signed, claim: _Claim, key: AccessKey) -> None:
    canonical = canonical_request(signed, claim.names, claim.body)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{ALGORITHM}\n{claim.stamp}\n{claim.scope}\n{digest}"
    expected = signature(key.secret, claim.scope, text)
    if not hmac.compare_digest(expected, claim.signature.lower()):
        raise RefusedError(
            "SignatureDoesNotMatch",
            AWSAccessKeyId=key.key_id,
            StringToSign=text,
            SignatureProvided=claim.signature,
            CanonicalRequest=canonical,
        )


def canonical_request(signed: Signed, names: tuple[str, ...], body: str) -> str:
    """The canonical request over the headers of these names and a body's digest.

    A header that the request lacks counts as empty, so the signature does not match.
    """
    path = quote(unquote(signed.path) or "/", safe=f"/{UNRESERVED}")
    pairs = sorted(
        (quote(name, safe=UNRESERVED), quote(value, safe=UNRESERVED))
        for name, value in signed.query
        if name != "X-Amz-Signature"
    )
    query = "&".join(f"{name}={value}" for name, value in pairs)
    lines = "".join(f"{name}:{' '.join(signed.headers.get(name, '').split())}\n" for name in names)
    return f"{signed.method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{body}"


def signature(secret: str, scope: str, text: str) -> str:
    """Signature of a string to sign, for a scope such as `20240603/us-west-2/s3/aws4_request`."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
