"""Asking a token service: one request with its retries, and the answer with the server's clock."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import ServiceError

if TYPE_CHECKING:
    import httpx

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_TRIES = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0
_TIMEOUT_S = 30.0
# The Date header has whole seconds; a smaller difference is not a wrong clock.
_CLOCK_TOLERANCE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What is asked of a token service; headers, form and login stay out of the repr."""

    service: str
    """Name for messages, such as `Planetary Computer token service`."""
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is neither busy nor broken: the scheme judges its status."""

    status: int
    document: Any = field(repr=False)
    """The JSON body; None if it is not JSON."""
    skew: timedelta = timedelta()
    """How far this machine's clock is ahead of the server's; zero when they agree."""

    def local(self, expiry: datetime) -> datetime:
        """A moment of the server's clock, by this machine's clock."""
        return expiry + self.skew


def ask(request: TokenRequest, *, wait: Callable[[float], None] = time.sleep) -> Answer:
    """The service's answer, after up to four tries.

    Redirects are not followed, so no header can reach another host. Proxies and certificate
    bundles come from the environment, netrc does not.

    Raises:
        ServiceError: If it stays busy (429, 5xx), does not answer, or asks for a longer wait than
            is worth holding a thread for; `retry_after_s` has what it asked.
    """
    pause = _FIRST_WAIT_S
    for _ in range(_TRIES - 1):
        try:
            return _tried(request)
        except ServiceError as failure:
            pause = max(pause, failure.retry_after_s or 0.0)
            if pause > _LONGEST_WAIT_S:
                raise
        wait(pause)
        pause *= 2
    return _tried(request)


def _tried(request: TokenRequest) -> Answer:
    import httpx

    asked_at = datetime.now(UTC)
    try:
        with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            response = client.request(
                request.method,
                request.url,
                headers=dict(request.headers),
                data=None if request.form is None else dict(request.form),
                auth=request.login or httpx.USE_CLIENT_DEFAULT,
            )
    except httpx.HTTPError as error:
        reason = redact(str(error)) or type(error).__name__
        raise ServiceError(f"{request.service} did not answer: {reason}") from error
    if response.status_code in _BUSY:
        raise _busy(request.service, response)
    return Answer(
        status=response.status_code, document=_json(response), skew=_skew(response, asked_at)
    )


def _busy(service: str, response: "httpx.Response") -> ServiceError:
    return ServiceError(
        f"{service} answered {response.status_code} {response.reason_phrase}",
        retry_after_s=_retry_after(response.headers.get("retry-after")),
        status=response.status_code,
    )


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which may also be a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    moment = _http_date(value)
    return None if moment is None else max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _skew(response: "httpx.Response", asked_at: datetime) -> timedelta:
    """An answer that was long on its way is no proof: it was dated at some moment of that time."""
    served = _http_date(response.headers.get("date"))
    if served is None:
        return timedelta()
    least = max(asked_at - served, min(datetime.now(UTC) - served, timedelta()))
    return least if abs(least) > _CLOCK_TOLERANCE else timedelta()


def _http_date(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json(response: "httpx.Response") -> Any:
    try:
        return response.json()
    except ValueError:
        return None
