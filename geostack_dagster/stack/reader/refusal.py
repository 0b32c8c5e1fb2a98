"""What an answer means: good bytes, worth another try, a dead credential, or the end of it.

Archives disagree about statuses. An expired token is 400 `ExpiredToken` on S3 and 403 on Azure;
Planetary Computer answers 409 to an unsigned read; Earthdata redirects to a login page in HTML,
with status 200. The code in the body is looked at, not only the status.
"""

import email.utils
import json
import re
import time
from enum import Enum, auto
from http import HTTPStatus

from geostack_dagster.auth.signer import Credential
from geostack_dagster.domain.hrefs import Href, basename, locate
from geostack_dagster.errors import (
    LICENCE,
    AssetError,
    CredentialError,
    GeostackError,
    MissingCredentialError,
    Reason,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.stack.reader.transport import BUSY, Ask, Reply

_CODE = re.compile(rb"<Code>\s*([A-Za-z]+)|\"(?:code|error)\"\s*:\s*\"([A-Za-z_]+)")
_DEAD_TOKEN = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException"}
_REFUSED = {401, 403, 407, 409}
_LOGIN = (b'type="password"', b"oauth/authorize", b"sign in", b"log in", b"login")
_PAGE_BYTES = 64 * 1024


class StaleError(AssetError):
    """The object is not the version whose header was read: read the header again."""


type _Failure = tuple[type[AssetError], str | None, str]

_FAILURES: dict[int, _Failure] = {
    200: (
        AssetError,
        Reason.NO_RANGES,
        "the server ignores byte ranges; download the file instead",
    ),
    206: (
        AssetError,
        Reason.TRUNCATED,
        "the answer was cut short every time; the file is truncated",
    ),
    404: (AssetError, None, "it does not exist (404); search again, it may have moved"),
    410: (AssetError, None, "it is gone (410); search again, it may have moved"),
    412: (
        StaleError,
        Reason.REPLACED,
        "it has changed since its header was read; read it again",
    ),
    416: (
        StaleError,
        Reason.TRUNCATED,
        "it ends before the bytes its header names; it is truncated or was replaced",
    ),
}
"""What an answer means, its reason (None for its status), and what to say."""


class Verdict(Enum):
    """What to do with a reply."""

    GOOD = auto()
    AGAIN = auto()
    RENEW = auto()
    STOP = auto()


def judge(reply: Reply, ask: Ask) -> Verdict:
    """What to do next; `STOP` for answers that asking again would not change."""
    if reply.status == 206:
        return Verdict.GOOD if len(reply.data) == _expected(reply, ask) else Verdict.AGAIN
    if reply.status in BUSY:
        return Verdict.AGAIN
    if reply.status in _REFUSED or code(reply) in _DEAD_TOKEN or is_login_page(reply):
        return Verdict.RENEW
    return Verdict.STOP


def retry_after_s(reply: Reply) -> float | None:
    """Seconds the server asked to wait, from either form of Retry-After."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def code(reply: Reply) -> str:
    """Error code of an XML or JSON refusal, such as `ExpiredToken`; empty if there is none."""
    if reply.status == 206:
        return ""
    found = _CODE.search(bytes(reply.data[:_PAGE_BYTES]))
    return (found[1] or found[2]).decode() if found else ""


def is_html(reply: Reply) -> bool:
    """Whether a page came where bytes were asked for."""
    return reply.status == 200 and "text/html" in reply.headers.get("content-type", "").lower()


def is_login_page(reply: Reply) -> bool:
    """Whether that page asks for a password."""
    if not is_html(reply):
        return False
    page = bytes(reply.data[:_PAGE_BYTES]).lower()
    return any(mark in page for mark in _LOGIN)


def refused(
    href: Href, reply: Reply, *, scope: str, credential: Credential | None
) -> CredentialError:
    """The error for a credential that did not help, or that there was none.

    Args:
        href: The asset, unsigned.
        reply: The refusal.
        scope: What the credential should have opened; empty if nothing was signed.
        credential: What it was signed with; only its source is named.
    """
    answer = "a login page" if is_login_page(reply) else _status(reply)
    where = f"{locate(href).host or 'the file system'} answered {answer} for {basename(href)}"
    if not scope:
        return MissingCredentialError(
            f"{where}, which was read without a credential. Configure the provider's credential; "
            "an open bucket that forbids listing also answers so where no such object exists"
        )
    link = _licence(reply)
    if link is not None:
        return RejectedCredentialError(f"{where}: the {LICENCE} yet; accept it at {link}")
    source = "its credential" if credential is None else f"the credential from {credential.source}"
    error = RejectedCredentialError(
        f"{where}, asked with {source} for {scope}. Check that the account may read this "
        "collection and has accepted its licence, and that the clock is right"
    )
    error.status = reply.status
    if code(reply) in _DEAD_TOKEN:
        error.reason = Reason.EXPIRED
    return error


def _licence(reply: Reply) -> str | None:
    """Where to accept the licence that Earthdata's JSON refusal is about; None for any other."""
    if reply.status != HTTPStatus.FORBIDDEN:
        return None
    try:
        document = json.loads(bytes(reply.data[:_PAGE_BYTES]))
    except ValueError:
        return None
    if not isinstance(document, dict) or "eula" not in json.dumps(document).lower():
        return None
    return str(document.get("resolution_url") or "your Earthdata profile")


def failed(href: Href, reply: Reply) -> GeostackError:
    """The error for any other answer that is not the bytes asked for."""
    name = f"{basename(href)} on {locate(href).host or 'the file system'}"
    if reply.status in BUSY:
        return ServiceError(
            f"{name}: {_status(reply)}, every time; try again later",
            retry_after_s=retry_after_s(reply),
            status=reply.status,
        )
    if is_html(reply):
        return AssetError(
            f"{name}: a web page came instead of the file; open the href to see why",
            reason=Reason.WEB_PAGE,
            status=reply.status,
        )
    kind, reason, said = _FAILURES.get(
        reply.status, (AssetError, None, f"{_status(reply)}; the request was not understood")
    )
    return kind(f"{name}: {said}", reason=reason, status=reply.status)


def _expected(reply: Reply, ask: Ask) -> int:
    stop = ask.stop if reply.size is None else min(ask.stop, reply.size)
    return stop - ask.start


def _status(reply: Reply) -> str:
    return f"{reply.status} {code(reply)}".strip()
