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
        ├── AssetError                        one asset is truncated, missing or of another format
        ├── DamagedError                      an object of our own storage was cut off or edited
        └── OverBudgetError                   too many assets of a partition cannot be read

Messages say what was asked, what was found and what to do. They never hold a credential or a
signed URL.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why an asset could not be read, in a word that a ledger keeps and a rerun selects by.

    Besides these there is `http-<status>`: `http-404` for what is gone, `http-503` for a service
    that stayed busy.
    """

    NO_ASSET = "no-asset"
    """The Item lists none."""
    NOT_WANTED = "not-wanted"
    """It is of another day, place or collection than was asked for."""
    SUPERSEDED = "superseded"
    """Another Item of the same acquisition was taken."""
    TRUNCATED = "truncated"
    REPLACED = "replaced"
    """It changed while it was read, again and again."""
    NOT_A_TIFF = "not-a-tiff"
    """Nor any other raster."""
    WEB_PAGE = "web-page"
    CORRUPT_HEADER = "corrupt-header"
    CORRUPT_TILE = "corrupt-tile"
    NO_PLACE = "no-place"
    """Neither metadata nor file say where it lies."""
    NO_BAND = "no-band"
    NO_RANGES = "no-ranges"
    """Its server gives whole files only."""
    WRONG_ANSWER = "wrong-answer"
    """A service rendered something else than was asked."""
    CONTRADICTION = "contradiction"
    UNREADABLE = "unreadable"
    TIMEOUT = "timeout"
    """No answer."""
    NO_CREDENTIAL = "no-credential"
    REFUSED = "refused"
    EXPIRED = "expired"
    """The credential's time was over, and there was no other."""
    FAILED = "failed"


def http_reason(status: int) -> str:
    """Reason for an answer with this status: `http-404`."""
    return f"http-{status}"


class GeostackError(Exception):
    """Root of all errors that geostack_dagster raises on purpose."""

    reason: str = Reason.FAILED
    """A `Reason`, or `http-<status>`."""
    status: int | None = None
    """HTTP status, if there was an answer."""
    attempts: int = 1
    """How often it was tried."""


class ConfigurationError(GeostackError, ValueError):
    """The ask is wrong: an unknown band, a reversed date range, an AOI off the grid.

    Not for what a provider sends: a strange Item is an `IntegrityError`.
    """


class UncalibratedError(ConfigurationError):
    """An emission rate was asked of an enhancement that is only relative, or sparse.

    Not for a plume that is too weak to quantify: that is a wide interval, not an error.
    """


class CredentialError(GeostackError):
    """Access needs a credential that is absent or refused."""

    reason: str = Reason.REFUSED


class MissingCredentialError(CredentialError):
    """No credential was found; the message names the variables that were looked at.

    Not for a credential that was tried: that is `RejectedCredentialError`.
    """

    reason: str = Reason.NO_CREDENTIAL


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
        self.reason = Reason.TIMEOUT if status is None else http_reason(status)


class NoDataError(GeostackError):
    """The question was valid and the answer is empty."""


class ConflictError(GeostackError):
    """Another writer committed to the same place first."""


class IntegrityError(GeostackError):
    """Bytes or metadata contradict what they claim: look at them before going on."""

    reason: str = Reason.CONTRADICTION


class AssetError(IntegrityError):
    """One asset cannot be read as what it claims to be: truncated, not a TIFF, gone.

    Args:
        message: What was asked and what came back.
        reason: Why, in a word; None takes the HTTP status, if there is one.
        status: HTTP status of the answer that settled it.
    """

    reason: str = Reason.UNREADABLE

    def __init__(
        self, message: str, *, reason: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason
        elif status is not None:
            self.reason = http_reason(status)
        self.status = status

    def of(self, name: str, *, otherwise: str | None = None) -> "AssetError":
        """The same error, saying of which asset, and why if it does not say that itself."""
        unsaid = otherwise is not None and self.reason == Reason.UNREADABLE
        found = AssetError(
            f"{name}: {self}", reason=otherwise if unsaid else self.reason, status=self.status
        )
        found.attempts = self.attempts
        return found


class DamagedError(IntegrityError):
    """An object of the project's own storage cannot be read back; names it and the remedy.

    Not for what an archive gives: that is an `AssetError`.
    """


class OverBudgetError(IntegrityError):
    """More assets of a partition cannot be read than its budget allows; it names them.

    Not where waiting may mend it: that stays a `ServiceError`.
    """
