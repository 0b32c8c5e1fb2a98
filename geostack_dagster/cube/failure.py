"""Storage failures as this package's errors, in one place for both kinds of store."""

from collections.abc import Iterator
from contextlib import contextmanager

import icechunk
from obstore.exceptions import BaseError

from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    IntegrityError,
    NoDataError,
    ServiceError,
)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what the storage below `where` raises as one of ours."""
    try:
        yield
    except icechunk.RepositoryNotFoundError as error:
        raise NoDataError(f"there is no cube at {where} yet") from error
    except icechunk.SnapshotNotFoundError as error:
        raise ConfigurationError(
            f"{where} has no such snapshot: {_told(error)}; see its history"
        ) from error
    except icechunk.ConflictError as error:
        raise ConflictError(f"another writer of {where} came first: {_told(error)}") from error
    except icechunk.FormatError as error:
        raise IntegrityError(f"{where} is damaged: {_told(error)}") from error
    except (icechunk.ReadOnlyError, icechunk.InvalidInputError) as error:
        raise ConfigurationError(f"{where} refused: {_told(error)}") from error
    except icechunk.IcechunkError as error:
        raise ServiceError(f"storage of {where} failed: {_told(error)}") from error
    except FileNotFoundError as error:
        raise NoDataError(f"there is no cube at {where} yet") from error
    except (PermissionError, NotADirectoryError) as error:
        raise ConfigurationError(f"{where} refused: {error.strerror}") from error
    except (OSError, BaseError) as error:
        raise ServiceError(f"storage of {where} failed: {redact(str(error))}") from error


def _told(error: icechunk.IcechunkError) -> str:
    return redact(error.message.partition("\n")[0])
