"""Whole files at a path or URL: a reader finds the old one or the new one, never a part.

Local paths are renamed into place. Object stores (`s3://`, `gs://`, `az://`, ...) take one put
through obstore. Every other scheme goes through fsspec: written beside the target, then moved.

Object stores are set up by the environment, for files here and for cubes alike:

- `s3://bucket/...`: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` (temporary
  keys), `AWS_REGION`. Another service than AWS: `AWS_ENDPOINT_URL`, path-style unless
  `AWS_VIRTUAL_HOSTED_STYLE_REQUEST` is true, with `AWS_ALLOW_HTTP=true` for plain http.
- `az://container/...`: `AZURE_STORAGE_ACCOUNT_NAME` and `AZURE_STORAGE_ACCOUNT_KEY` or
  `AZURE_STORAGE_SAS_TOKEN`. Another address: `AZURE_STORAGE_ENDPOINT` (with the account in it, as
  in `http://127.0.0.1:10000/account`), with `AZURE_ALLOW_HTTP=true` for plain http.
- `gs://bucket/...`: `GOOGLE_APPLICATION_CREDENTIALS`.

Without keys, the identity that the cloud gives to its own machines is used, if there is one.
"""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import fsspec
import obstore
from filelock import FileLock, Timeout
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import ObjectStore, from_url

from geostack_dagster.domain.hrefs import basename, canonical, redact
from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    GeostackError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SWAP_PATIENCE_S = 60.0  # a swap takes milliseconds
_AWS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN for temporary keys)"
_AZURE = "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or AZURE_STORAGE_SAS_TOKEN)"
_VARIABLES = {
    **dict.fromkeys(("s3", "s3a"), _AWS),
    **dict.fromkeys(("az", "adl", "azure", "abfs", "abfss"), _AZURE),
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
"""Schemes of object stores, and the variables that hold their credentials."""
# The last resort of every client is the metadata service of the cloud that it may run in.
_NOTHING_FOUND = re.compile(
    r"no providers in chain|169\.254\.169\.254|metadata\.google|Account must be specified"
)
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_REFUSED = re.compile(
    r"""(?x) code:\ 40[13] | PublicAccessNotPermitted | Invalid\ Access\ Key
    | \b (?: AccessDenied | InvalidAccessKeyId | SignatureDoesNotMatch | ExpiredToken | InvalidToken
    | TokenRefreshRequired | AuthenticationFailed | AuthorizationFailure ) \b"""
)


@contextmanager
def staged(url: str) -> Iterator[Path]:
    """A path to write to; it becomes `url` when the block ends, and is dropped if it fails.

    Raises:
        ConfigurationError: If there is no such bucket, or the folder may not be written to.
        CredentialError: If the object store's credential is missing or refused.
        ServiceError: If the object store does not take the file, or the disk is full.
    """
    local = local_path(url)
    with _written(url):
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
        CredentialError: If the object store's credential is missing or refused.
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


def swap_bytes(url: str, content: bytes, *, expected: bytes | None) -> None:
    """Write a whole file if it still holds what is expected; None: if there is none yet.

    A file system has no conditional writes: there a lock beside the file stands in for them. Object
    stores have them, and need no lock.

    Raises:
        ConflictError: If it holds something else: read it again and decide anew.
        ConfigurationError: If the scheme has neither locks nor conditional writes.
        CredentialError: If the object store's credential is missing or refused.
        ServiceError: If the object store does not answer.
    """
    local = local_path(url)
    if local is not None:
        _swap_file(local, content, expected)
    elif _is_object_store(url):
        _swap_object(url, content, expected)
    else:
        raise ConfigurationError(
            f"{canonical(url)} cannot be changed safely by several writers; use a path or one of "
            f"{', '.join(_VARIABLES)}"
        )


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


def folders(url: str) -> list[str]:
    """Names of the folders directly below a folder, in order; none where there is none."""
    local = local_path(url)
    if local is not None:
        return sorted(one.name for one in local.iterdir() if one.is_dir()) if local.is_dir() else []
    if not _is_object_store(url):
        system, path = fsspec.url_to_fs(url)
        found = system.ls(path, detail=True) if system.isdir(path) else []
        return sorted(basename(one["name"]) for one in found if one["type"] == "directory")
    store, _ = _opened(f"{url}/")
    with _translated(url):
        prefixes = obstore.list_with_delimiter(store)["common_prefixes"]
    return sorted(basename(prefix) for prefix in prefixes)


def listing(url: str) -> dict[str, int]:
    """Sizes of all files below a folder or prefix by their paths from there [B].

    Raises:
        CredentialError: If the object store's credential is missing or refused.
        ServiceError: If the object store does not answer.
    """
    local = local_path(url)
    if local is not None:
        return dict(_sizes_below(str(local)))
    if not _is_object_store(url):
        system, path = fsspec.url_to_fs(url)
        found = system.find(path, detail=True).items()
        return {name[len(path) :].lstrip("/"): int(facts["size"]) for name, facts in found}
    store, name = _opened(url)
    with _translated(url):
        return {
            entry["path"].removeprefix(name).lstrip("/"): int(entry["size"])
            for batch in obstore.list(store, prefix=name)
            for entry in batch
        }


def _sizes_below(folder: str) -> Iterator[tuple[str, int]]:
    """Paths from a folder and sizes; of strings, for a storage may hold a hundred thousand."""
    for here, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(here, name)  # noqa: PTH118 - three times as fast
            try:
                found = os.stat(path)  # noqa: PTH116
            except FileNotFoundError:
                continue  # gone meanwhile, or a link to nothing
            if stat.S_ISREG(found.st_mode):
                yield path[len(folder) :].lstrip(os.sep).replace(os.sep, "/"), found.st_size


def local_path(url: str) -> Path | None:
    """The path that a `file://` URL or a plain path names; None for any other scheme."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(url) if parts.scheme == "" else None


def _swap_file(path: Path, content: bytes, expected: bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{path}.lock", timeout=_SWAP_PATIENCE_S, poll_interval=0.005):
            if (path.read_bytes() if path.is_file() else None) != expected:
                raise ConflictError(f"{path} was changed by another writer")
            write_bytes(str(path), content)
    except Timeout as error:
        raise ConflictError(f"other writers of {path} kept its lock; retry later") from error


def _swap_object(url: str, content: bytes, expected: bytes | None) -> None:
    changed = ConflictError(f"{canonical(url)} was changed by another writer")
    store, name = _opened(url)
    with _translated(url):
        try:
            if expected is None:
                obstore.put(store, name, content, mode="create")
                return
            found = obstore.get(store, name)
            if bytes(found.bytes()) != expected:
                raise changed
            obstore.put(store, name, content, mode={"e_tag": found.meta["e_tag"]})
        except (AlreadyExistsError, FileNotFoundError, NotFoundError, PreconditionError):
            raise changed from None


def _is_object_store(url: str) -> bool:
    return urlsplit(url).scheme in _VARIABLES


def failure(url: str, said: str) -> GeostackError:
    """The error that obstore's or Icechunk's words about an object store stand for."""
    shown, variables = canonical(url), _VARIABLES.get(urlsplit(url).scheme, "its credential")
    if _NOTHING_FOUND.search(said):
        return MissingCredentialError(
            f"no credential was found for {shown}: set {variables}; see geostack_dagster.storage"
        )
    if _NO_BUCKET.search(said):
        return ConfigurationError(f"the bucket or container of {shown} does not exist; create it")
    if _REFUSED.search(said):
        code = re.search(r"<Code>\s*(\w+)|\((\w+)\): Error", said)
        answer = f" ({code[1] or code[2]})" if code else ""
        return RejectedCredentialError(
            f"the object store refused the credential of the environment for {shown}{answer}; "
            f"check {variables}, and what this account may do there"
        )
    system = _OS_ERROR.search(said)
    if system and int(system[1]) in _READ_ONLY:
        return ConfigurationError(
            f"{shown} may not be written: {os.strerror(int(system[1]))}; check who owns the folder "
            "and how its disk is mounted"
        )
    # What follows the first line is a dump of the request.
    return ServiceError(f"{shown} was not taken or given: {redact(said).partition('\n')[0]}")


def _upload(path: Path, url: str) -> None:
    if not _is_object_store(url):
        system, target = fsspec.url_to_fs(url)
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
        system.put_file(str(path), f"{target}.part")
        system.mv(f"{target}.part", target)
        return
    store, name = _opened(url)
    try:
        with _translated(url):
            obstore.put(store, name, path)
    except FileNotFoundError as error:  # a put misses nothing but the place to put it
        raise failure(url, "NoSuchBucket") from error


def _opened(url: str) -> tuple[ObjectStore, str]:
    folder, _, name = url.rpartition("/")
    with _translated(url):
        return from_url(folder), name


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except NotFoundError as error:
        raise FileNotFoundError(canonical(url)) from error
    except BaseError as error:
        # Not chained: the dump of the request may hold a signed URL.
        raise failure(url, str(error)) from None


@contextmanager
def _written(url: str) -> Iterator[None]:
    """What a file system says when it does not take a file, as this package's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in _READ_ONLY:
            raise ConfigurationError(
                f"{canonical(url)} may not be written: {error.strerror}; check who owns the "
                "folder and how its disk is mounted"
            ) from error
        if error.errno in _FULL:
            raise ServiceError(
                f"{canonical(url)} was not written: {error.strerror}; make room on the disk"
            ) from error
        raise


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
