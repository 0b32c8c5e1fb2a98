"""What an HTTP answer that is not a page of Items means, and when to ask again."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from geostack_dagster.domain.hrefs import canonical, redact
from geostack_dagster.errors import (
    ConfigurationError,
    GeostackError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.providers import PROVIDERS

_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.5
# A longer wait belongs to the orchestrator, which can give the slot to another run meanwhile.
_LONGEST_PAUSE_S = 30.0
_BUSY = frozenset({429, 502, 503, 504})
_SHOWN = 200  # characters of an answer quoted in a message


def failure(url: str, status: int, answer: str, *, retry_after: str | None = None) -> GeostackError:
    """The error that an HTTP status stands for; quotes the answer without secrets."""
    where = f"{canonical(url)} answered {status}"
    said = f": {redact(' '.join(answer.split()))[:_SHOWN]}" if answer.strip() else ""
    if status == 401:
        return MissingCredentialError(
            f"{where}{said}; the search needs a credential, or a fresher one"
        )
    if status == 403:
        return RejectedCredentialError(f"{where}{said}; the credential does not allow the search")
    if status in (400, 404, 405, 413, 414, 422):
        return ConfigurationError(f"{where}{said}; the search parameters or the URL are wrong")
    return ServiceError(f"{where}{said}", retry_after_s=_seconds(retry_after, url), status=status)


def refused(url: str, answer: str) -> RejectedCredentialError:
    """The error for a 401 to a request that carried a credential."""
    said = f": {redact(' '.join(answer.split()))[:_SHOWN]}" if answer.strip() else ""
    return RejectedCredentialError(
        f"{canonical(url)} answered 401{said}; it does not take the credential, or not any more"
    )


def not_json(url: str, answer: bytes) -> ServiceError:
    """The error for an answer that is not JSON: a web page, or one cut off on the way."""
    where = canonical(url)
    start = answer.lstrip()[:1]
    if start == b"<":
        return ServiceError(
            f"{where} answered with a web page instead of JSON: a login, a proxy or maintenance",
            status=200,
        )
    if not answer.strip():
        return ServiceError(f"{where} answered with nothing instead of JSON")
    return ServiceError(f"{where} answered with JSON that breaks off after {len(answer)} bytes")


def retrying[T](call: Callable[[], T]) -> T:
    """Result of `call`, repeated while the service is busy, as long as it asks to wait.

    Raises:
        ServiceError: After five attempts, or at once when asked to wait longer than 30 s.
    """
    for attempt in range(_ATTEMPTS - 1):
        try:
            return call()
        except ServiceError as error:
            pause = error.retry_after_s
            if pause is None:
                pause = _FIRST_PAUSE_S * 2**attempt
            if pause > _LONGEST_PAUSE_S or not _may_pass(error):
                raise
        time.sleep(pause)
    return call()


def _may_pass(error: ServiceError) -> bool:
    """Busy, unreachable or cut off; not a web page, nor an error of the service's own making."""
    return error.status is None or error.status in _BUSY


def _seconds(retry_after: str | None, url: str) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date.

    Sentinel Hub's number counts milliseconds.
    """
    if retry_after is None:
        return None
    try:
        return max(float(retry_after) * _unit_s(url), 0.0)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _unit_s(url: str) -> float:
    """What the archive behind a URL counts Retry-After in [s]."""
    owners = (provider for provider in PROVIDERS.values() if provider.owns(url))
    return next((owner.limits.retry_after_unit_s for owner in owners), 1.0)
