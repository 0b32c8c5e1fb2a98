"""The doctor's own requests: reachability, catalogue pages, one Item."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import ServiceError

_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Page:
    """What a catalogue answered."""

    status: int
    document: Any
    """The JSON body; None if it is none."""
    skew: timedelta | None
    """How far this machine's clock is ahead of the server's; None if it does not tell."""


def reach(host: str) -> None:
    """Nothing if a TLS connection to the host comes up, by proxy where one is set.

    Any HTTP answer will do.

    Raises:
        ServiceError: If it does not; the message says at which step.
    """
    try:
        httpx.head(f"https://{host}/", timeout=_TIMEOUT_S, follow_redirects=False)
    except httpx.HTTPError as error:
        raise ServiceError(f"{host}: {_step(error)}") from None


def page(
    url: str, *, headers: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
) -> Page:
    """The answer to a GET, or to a POST of a JSON body.

    Raises:
        ServiceError: If there is none.
    """
    try:
        answer = httpx.request(
            "GET" if body is None else "POST",
            url,
            headers=dict(headers or {}),
            json=None if body is None else dict(body),
            timeout=_TIMEOUT_S,
            follow_redirects=True,
        )
    except httpx.HTTPError as error:
        raise ServiceError(f"{url}: {_step(error)}") from None
    try:
        document = answer.json()
    except ValueError:
        document = None
    return Page(answer.status_code, document, _skew(answer.headers.get("date")))


def _step(error: httpx.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "its name is not known (DNS)"
        cause = cause.__cause__ or cause.__context__
    said = redact(str(error)) or type(error).__name__
    if "CERTIFICATE" in said.upper():
        return f"its certificate is not trusted ({said})"
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {_TIMEOUT_S:g} s"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refuses ({said})"
    return said


def _skew(date: str | None) -> timedelta | None:
    try:
        served = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return datetime.now(UTC) - served.astimezone(UTC)
