"""Storage failures as this package's errors, in one place for both kinds of store."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import icechunk
from obstore.exceptions import BaseError

from geostack_dagster.cube.damage import RESTORE
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    DamagedError,
    GeostackError,
    NoDataError,
    ServiceError,
)
from geostack_dagster.storage import failure

_DAMAGED = f"{{where}} is damaged: {{told}}; {RESTORE}"
# How Icechunk's storage layer says that an object which another one names is gone or cut off.
_TORN = re.compile(r"(object not found|Src size is incorrect)$")
_VERDICTS: tuple[tuple[tuple[type[Exception], ...], type[GeostackError], str], ...] = (
    ((icechunk.RepositoryNotFoundError,), NoDataError, "there is no cube at {where} yet"),
    (
        (icechunk.SnapshotNotFoundError,),
        ConfigurationError,
        "{where} has no such snapshot: {told}; see its history",
    ),
    ((icechunk.ConflictError,), ConflictError, "another writer of {where} came first: {told}"),
    ((icechunk.FormatError,), DamagedError, _DAMAGED),
    (
        (icechunk.ReadOnlyError, icechunk.InvalidInputError),
        ConfigurationError,
        "{where} refused: {told}",
    ),
)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what the storage below `where` raises as one of ours."""
    try:
        yield
    except icechunk.StorageError as error:
        # Not chained: its notes hold the whole request.
        raise _stopped(where, error.message) from None
    except icechunk.IcechunkError as error:
        raise _refused(where, error) from error
    except FileNotFoundError as error:
        reason = failure(where, str(error))
        if isinstance(reason, ConfigurationError):  # it is the bucket that is missing
            raise reason from None
        raise NoDataError(f"there is no cube at {where} yet") from error
    except (PermissionError, NotADirectoryError) as error:
        raise ConfigurationError(f"{where} refused: {error.strerror}") from error
    except BaseError as error:
        raise failure(where, str(error)) from None
    except OSError as error:
        raise ServiceError(f"storage of {where} failed: {redact(str(error))}") from error


def _stopped(where: str, said: str) -> GeostackError:
    told, reason = redact(said.partition("\n")[0]), failure(where, said)
    if isinstance(reason, ServiceError) and _TORN.search(told):
        return DamagedError(_DAMAGED.format(where=where, told=told))
    return reason


def _refused(where: str, error: icechunk.IcechunkError) -> GeostackError:
    told = redact(error.message.partition("\n")[0])
    if error.kind == icechunk.ErrorKind.SNAPSHOT_TIMESTAMP:
        return ServiceError(
            f"{where} took no commit, for this machine's clock is wrong: {told}; set it (NTP)"
        )
    for kinds, verdict, words in _VERDICTS:
        if isinstance(error, kinds):
            return verdict(words.format(where=where, told=told))
    return ServiceError(f"storage of {where} failed: {told}")
