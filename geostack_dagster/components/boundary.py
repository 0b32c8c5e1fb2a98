"""The one translation from this project's errors to Dagster's verdicts."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    CredentialError,
    GeostackError,
    IntegrityError,
    ServiceError,
)

_MAX_RETRIES = 5
_SERVICE_WAIT_S = 10.0
_CONFLICT_WAIT_S = 1.0


@contextmanager
def verdicts(subject: str) -> Iterator[None]:
    """Raise Dagster's verdict for any error of this project that leaves the block.

    Service errors are retried after the time the provider asked for, conflicts at once; what is
    wrong with the ask, the credential or the data fails without a retry. (`NoDataError` is caught
    where an empty result is meant; here it would be a bug, and fails.)
    """
    try:
        yield
    except ServiceError as error:
        wait_s = _SERVICE_WAIT_S if error.retry_after_s is None else error.retry_after_s
        raise dg.RetryRequested(max_retries=_MAX_RETRIES, seconds_to_wait=wait_s) from error
    except ConflictError as error:
        raise dg.RetryRequested(
            max_retries=_MAX_RETRIES, seconds_to_wait=_CONFLICT_WAIT_S
        ) from error
    except GeostackError as error:
        raise dg.Failure(
            description=f"{subject}: {redact(str(error))}",
            metadata={"error": type(error).__name__, "remedy": _remedy(error)},
            allow_retries=False,
        ) from error


def _remedy(error: GeostackError) -> str:
    for kind, remedy in _REMEDIES.items():
        if isinstance(error, kind):
            return remedy
    return "read the message"


_REMEDIES: dict[type[GeostackError], str] = {
    ConfigurationError: "change the pipeline's defs.yaml or the AOI file, then materialize again",
    CredentialError: "set or renew the variable that the message names, then materialize again",
    IntegrityError: "compare the archive's item with what was read; nothing was written",
}
