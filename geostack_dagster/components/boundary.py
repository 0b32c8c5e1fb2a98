"""The one translation from this project's errors to Dagster's verdicts."""

from collections.abc import Mapping

import dagster as dg

from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    CredentialError,
    DamagedError,
    GeostackError,
    IntegrityError,
    ServiceError,
)

_MAX_RETRIES = 5
_SERVICE_WAIT_S = 10.0
_CONFLICT_WAIT_S = 1.0

# What a person can do; the first class that fits counts.
_REMEDIES: Mapping[type[GeostackError], str] = {
    ConfigurationError: "change the pipeline's defs.yaml or the AOI file, then materialize again",
    CredentialError: "set or renew the variable that the message names, then materialize again",
    DamagedError: "do to the stored object what the message says, then materialize again",
    IntegrityError: "compare the archive's item with what was read; nothing was written",
}


def verdict(errors: Mapping[str, GeostackError]) -> dg.Failure | dg.RetryRequested:
    """What Dagster should do about the partitions that failed.

    As long as a service is to blame for one of them the step is retried (finished partitions cost
    nothing then), after the longest wait that a provider asked for. What is wrong with the ask, the
    credential or the data fails without a retry.
    """
    waits = [_wait_s(error) for error in errors.values()]
    passing = [wait for wait in waits if wait is not None]
    if passing:
        return dg.RetryRequested(max_retries=_MAX_RETRIES, seconds_to_wait=max(passing))
    return dg.Failure(
        description="; ".join(f"{name}: {redact(str(error))}" for name, error in errors.items()),
        metadata={
            name: dg.MetadataValue.json(
                {"error": type(error).__name__, "message": redact(str(error)), "do": _remedy(error)}
            )
            for name, error in errors.items()
        },
        allow_retries=False,
    )


def _wait_s(error: GeostackError) -> float | None:
    if isinstance(error, ServiceError):
        return _SERVICE_WAIT_S if error.retry_after_s is None else error.retry_after_s
    return _CONFLICT_WAIT_S if isinstance(error, ConflictError) else None


def _remedy(error: GeostackError) -> str:
    for kind, remedy in _REMEDIES.items():
        if isinstance(error, kind):
            return remedy
    return "read the message"
