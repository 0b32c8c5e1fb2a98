"""Every error this package raises, grouped by what a handler does with it.

::

    GeostackError
    ├── ConfigurationError (also ValueError)  the ask is wrong; change it, do not retry
    │   └── UncalibratedError                 emission rates asked of relative enhancements
    ├── CredentialError                       no access; do not retry until the credential changes
    │   ├── MissingCredentialError            nothing was found to try
    │   └── RejectedCredentialError           something was tried and the provider refused it
    ├── ServiceError                          the provider is busy or broken; retry later
    ├── NoDataError                           nothing to do; an empty result, not a failure
    ├── ConflictError                         another writer committed first; rebase and retry
    └── IntegrityError                        what was read or stored is not what it says it is
        └── AssetError                        one asset is truncated, missing or of another format

Messages say what was asked, what was found and what to do. They never hold a credential or a
signed URL.
"""

from typing import override


class GeostackError(Exception):
    """Root of all errors that geostack_dagster raises on purpose."""


class ConfigurationError(GeostackError, ValueError):
    """The ask is wrong: an unknown band, a reversed date range, an AOI off the grid.

    Not for what a provider sends: a strange Item is an `IntegrityError`.
    """


class UncalibratedError(ConfigurationError):
    """An emission rate was asked of an enhancement that is only relative.

    Not for a plume that is too weak to quantify: that is a wide interval, not an error.
    """


class CredentialError(GeostackError):
    """Access needs a credential that is absent or refused."""


class MissingCredentialError(CredentialError):
    """No credential was found; the message names the variables that were looked at.

    Not for a credential that was tried: that is `RejectedCredentialError`.
    """


LICENCE = "licence of this data was not accepted"
"""Words of a `RejectedCredentialError` that a click on the archive's site remedies."""


class RejectedCredentialError(CredentialError):
    """A credential was presented and the provider refused it; names its source, not its value."""


class ServiceError(GeostackError):
    """The provider answered 429 or 5xx, or did not answer in time.

    Args:
        message: What was asked and what came back.
        retry_after_s: Seconds the provider asked to wait, if it said so.
        status: HTTP status, if there was an answer.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword arguments when a worker process hands the error back."""
        return (_service_error, (str(self), self.retry_after_s, self.status))


def _service_error(message: str, retry_after_s: float | None, status: int | None) -> ServiceError:
    return ServiceError(message, retry_after_s=retry_after_s, status=status)


class NoDataError(GeostackError):
    """The question was valid and the answer is empty."""


class ConflictError(GeostackError):
    """Another writer committed to the same place first."""


class IntegrityError(GeostackError):
    """Bytes or metadata contradict what they claim: look at them before going on."""


class AssetError(IntegrityError):
    """One asset cannot be read as what it claims to be: truncated, not a TIFF, gone."""
