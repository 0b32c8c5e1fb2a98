"""Canonical hrefs: where an asset lives, without any signature.

`Href` is safe to store. `SignedHref` opens the door and must never leave the call that reads with
it; the two are distinct types, so persisting a signed one is a type error.
"""

import re
from dataclasses import dataclass
from typing import NewType
from urllib.parse import unquote_plus, urlsplit, urlunsplit

Href = NewType("Href", str)
SignedHref = NewType("SignedHref", str)

_SIGNATURE_KEY = re.compile(
    r"""(?ix)
    sig | s[etpvrs] | sk(?:e|s|t|v|oid|tid) | sip | spr | srt | sdd  # Azure SAS
    | x-amz-.* | x-id | awsaccesskeyid | signature | expires         # AWS, v4 and v2
    | x-goog-.* | key-pair-id | policy                               # Google, CloudFront
    | (?:access_|id_)?token | api_?key | subscription-key            # bearer in the query
    """
)
# What a leak looks like in any text: the value, not only the key, so prose about `sig=` is clean.
# `\u0026` and `%26` are the & of a URL inside JSON or inside another URL.
SIGNATURE = re.compile(
    r"""(?ix)
    (?:(?<![a-z0-9_-])|\\u0026|%26) sig (?:=|%3d) [a-z0-9%+/]{16,}
    | x-amz-(?:signature|credential|security-token) [\\"'\s]* (?:[=:]|%3d) [\s"']* [a-z0-9%/+=]{8,}
    | aws4-hmac-sha256\s+credential=\S+ (?:,?\s*(?:signedheaders|signature)=[^\s,"']+)*
    | (?:\bbearer|authorization[\\"':\s]*basic)\s+[a-z0-9._~+/-]{16,}=*
    | (?<=://)[^\s/:@"'<>]+:[^\s/:@"'<>]+(?=@)
    | (?:access_token|refresh_token|id_token|client_secret|secretaccesskey|sessiontoken
        |ocp-apim-subscription-key) [\\"'\s]* [=:] [\s\\"']* (?=[a-z_~+/-]*[0-9])[a-z0-9._~+/=-]{8,}
    """
)
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}
_REDACTED = "[redacted]"


@dataclass(frozen=True, slots=True)
class Location:
    """An href taken apart: scheme, host (or bucket) and key."""

    scheme: str
    host: str
    key: str

    @property
    def bucket(self) -> str:
        """Container of an object store: the S3 bucket, or `account/container` on Azure Blob."""
        if self.host.endswith(".blob.core.windows.net"):
            return f"{self.host.partition('.')[0]}/{self.key.partition('/')[0]}"
        return self.host


def canonical(href: str) -> Href:
    """Strip every signature parameter from `href`; the rest stays as it was written."""
    try:
        parts = urlsplit(href)
    except ValueError:  # not a URL, so there is no query to strip
        return Href(redact(href))
    fields = parts.query.split("&")
    kept = [field for field in fields if not _is_signature(field)]
    if len(kept) == len(fields):
        return Href(href)
    return Href(urlunsplit(parts._replace(query="&".join(kept))))


def _is_signature(field: str) -> bool:
    return _SIGNATURE_KEY.fullmatch(unquote_plus(field.partition("=")[0])) is not None


def locate(href: Href | str) -> Location:
    """Take an href apart; a plain path has scheme `file` and no host, a non-URL no scheme."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return Location("", "", href)
    if parts.scheme in ("", "file"):
        return Location("file", "", parts.path)
    scheme, host = parts.scheme.lower(), parts.netloc.lower()
    # CMR writes the default port: cmr.earthdata.nasa.gov:443 is cmr.earthdata.nasa.gov.
    host = host.removesuffix(_DEFAULT_PORTS.get(scheme, ":"))
    return Location(scheme, host, parts.path.lstrip("/"))


def basename(href: Href | str) -> str:
    """Last path segment without the query: the file name an archive gave the asset."""
    return locate(href).key.rstrip("/").rpartition("/")[2]


def redact(text: str) -> str:
    """Replace whatever looks like a signature or bearer token; for logs and error messages."""
    return SIGNATURE.sub(_REDACTED, text)
