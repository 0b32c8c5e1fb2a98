"""Refusals in XML, as the S3 services write them."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from xml.sax.saxutils import escape

from geostack_dagster.sandbox import clock

_MESSAGES = {
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "AccessDenied": (403, "Access Denied"),
    "InvalidAccessKeyId": (
        403,
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    "SignatureDoesNotMatch": (
        403,
        (
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method."
        ),
    ),
    "RequestTimeTooSkewed": (
        403,
        "The difference between the request time and the current time is too large.",
    ),
    "InvalidToken": (400, "The provided token is malformed or otherwise invalid."),
    "ExpiredToken": (400, "The provided token has expired."),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidArgument": (400, "Invalid Argument"),
    "AuthorizationHeaderMalformed": (400, "The authorization header you provided is invalid."),
    "AuthorizationQueryParametersError": (400, "The authorization query parameters are invalid."),
    "XAmzContentSHA256Mismatch": (
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
    "PreconditionFailed": (
        412,
        "At least one of the pre-conditions you specified did not hold",
    ),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "PermanentRedirect": (
        301,
        (
            "The bucket you are attempting to access must be addressed using the specified "
            "endpoint. Please send all future requests to this endpoint."
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """How a service presents itself."""

    explains: bool
    """Whether a refusal says more than its code."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """On every answer."""

    def common(self) -> dict[str, str]:
        """Headers of one answer."""
        token = secrets.token_hex(8).upper()
        return {
            **self.headers,
            "x-amz-request-id": token,
            "x-amz-id-2": hashlib.sha256(token.encode()).hexdigest(),
            "date": format_datetime(clock.now(), usegmt=True),
        }

    def refusal(
        self, code: str, message: str | None, elements: Mapping[str, str], ids: Mapping[str, str]
    ) -> tuple[int, str]:
        """Status and document of a refusal; `ids` are the headers of the answer."""
        status, usual = _MESSAGES[code]
        said = (message or usual) if self.explains else ""
        more = "".join(
            f"<{name}>{escape(value)}</{name}>"
            for name, value in (elements if self.explains else {}).items()
        )
        return status, (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>'
            f"{escape(said)}</Message>{more}<RequestId>{ids['x-amz-request-id']}</RequestId>"
            f"<HostId>{ids['x-amz-id-2']}</HostId></Error>"
        )


AMAZON = House(
    explains=True,
    headers={"server": "AmazonS3"},
)
EODATA = House(explains=False)
"""Ceph, behind a proxy that adds nothing: a refusal is its code."""
