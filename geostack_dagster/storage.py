"""Whole files at a path or URL: a reader finds the old one or the new one, never a part.

Local paths are renamed into place. Object stores (`s3://`, `gs://`, `az://`, ...) take one put
through obstore, with the credentials its environment variables name. Every other scheme goes
through fsspec: written beside the target, then moved.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import fsspec
import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from geostack_dagster.domain.hrefs import basename, canonical, redact
from geostack_dagster.errors import RejectedCredentialError, ServiceError

_OBJECT_STORES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss")


@contextmanager
def staged(url: str) -> Iterator[Path]:
    """A path to write to; it becomes `url` when the block ends, and is dropped if it fails.

    Raises:
        RejectedCredentialError: If the object store refuses the credential.
        ServiceError: If the object store does not take the file.
    """
    local = local_path(url)
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target when local, so that it is on the same disk and a rename is atomic.
    with tempfile.TemporaryDirectory(
        prefix=".staged-", dir=local.parent if local else None
    ) as folder:
        path = Path(folder) / basename(url)
        yield path
        if local is not None:
            _flush(path)
            path.replace(local)
        else:
            _upload(path, url)


def write_bytes(url: str, content: bytes) -> None:
    """Write a whole file; raises as `staged` does."""
    with staged(url) as path:
        path.write_bytes(content)


def read_bytes(url: str) -> bytes:
    """Content of a file.

    Raises:
        FileNotFoundError: If there is none.
        RejectedCredentialError: If the object store refuses the credential.
        ServiceError: If the object store does not answer.
    """
    local = local_path(url)
    if local is not None:
        return local.read_bytes()
    if not _is_object_store(url):
        system, path = fsspec.url_to_fs(url)
        return bytes(system.cat_file(path))
    store, name = _opened(url)
    with _translated(url):
        return bytes(obstore.get(store, name).bytes())


def exists(url: str) -> bool:
    """Whether there is a file. Raises as `read_bytes` does, except for a missing one."""
    local = local_path(url)
    if local is not None:
        return local.is_file()
    if not _is_object_store(url):
        system, path = fsspec.url_to_fs(url)
        return bool(system.isfile(path))
    store, name = _opened(url)
    try:
        with _translated(url):
            obstore.head(store, name)
    except FileNotFoundError:
        return False
    return True


def delete(url: str) -> None:
    """Remove a file; nothing happens if there is none. Raises as `read_bytes` does."""
    local = local_path(url)
    if local is not None:
        local.unlink(missing_ok=True)
    elif not _is_object_store(url):
        system, path = fsspec.url_to_fs(url)
        if system.isfile(path):
            system.rm_file(path)
    else:
        store, name = _opened(url)
        try:
            with _translated(url):
                obstore.delete(store, name)
        except FileNotFoundError:
            pass


def local_path(url: str) -> Path | None:
    """The path that a `file://` URL or a plain path names; None for any other scheme."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(url) if parts.scheme == "" else None


def _is_object_store(url: str) -> bool:
    return urlsplit(url).scheme in _OBJECT_STORES


def _upload(path: Path, url: str) -> None:
    if _is_object_store(url):
        store, name = _opened(url)
        with _translated(url):
            obstore.put(store, name, path)
        return
    system, target = fsspec.url_to_fs(url)
    system.makedirs(target.rpartition("/")[0], exist_ok=True)
    system.put_file(str(path), f"{target}.part")
    system.mv(f"{target}.part", target)


def _opened(url: str) -> tuple[ObjectStore, str]:
    folder, _, name = url.rpartition("/")
    return from_url(folder), name


@contextmanager
def _translated(url: str) -> Iterator[None]:
    shown = canonical(url)
    try:
        yield
    except NotFoundError as error:
        raise FileNotFoundError(shown) from error
    except (PermissionDeniedError, UnauthenticatedError):
        raise RejectedCredentialError(
            f"the object store refused the credential of the environment for {shown}; check the "
            "variables of its scheme (AWS_*, AZURE_STORAGE_*, GOOGLE_*)"
        ) from None
    except BaseError as error:
        said = redact(str(error)).partition("\n")[0]  # what follows is a dump of the request
        raise ServiceError(f"{shown} was not taken or given: {said}") from None


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
