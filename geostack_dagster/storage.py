"""Whole small objects by URL: a folder on this machine, or a bucket (`s3://`, `az://`, `gs://`).

Writes are atomic: a reader sees the old bytes or the new ones. Cubes have their own store; this is
for what lies beside them (snapshots, recipes, pins, published files).
"""

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from geostack_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_BUCKET_SCHEMES = ("s3", "az", "gs")


def read_bytes(url: str) -> bytes:
    """The object's bytes.

    Raises:
        FileNotFoundError: If there is no such object.
    """
    path = local_path(url)
    if path is not None:
        return path.read_bytes()
    store, key = _bucket(url)
    return bytes(store.get(key).bytes())


def write_bytes(url: str, data: bytes) -> None:
    """Put `data` at `url`, replacing what was there in one step."""
    path = local_path(url)
    if path is None:
        store, key = _bucket(url)
        store.put(key, data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Same folder, so that the rename stays on one file system; hidden, so that listings skip it.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def exists(url: str) -> bool:
    """Whether there is an object at `url`."""
    path = local_path(url)
    if path is not None:
        return path.is_file()
    store, key = _bucket(url)
    try:
        store.head(key)
    except FileNotFoundError:
        return False
    return True


def delete(url: str) -> None:
    """Remove the object; nothing happens when there is none."""
    path = local_path(url)
    if path is not None:
        path.unlink(missing_ok=True)
    elif exists(url):
        store, key = _bucket(url)
        store.delete(key)


def local_path(url: str) -> Path | None:
    """Path of a folder or `file://` URL; None for a bucket.

    Raises:
        ConfigurationError: If the scheme is none that is known.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(parts.path)
    if parts.scheme in _BUCKET_SCHEMES:
        return None
    if "://" in url:
        raise ConfigurationError(
            f"cannot store at {parts.scheme}://; use a folder, file://, "
            f"{', '.join(scheme + '://' for scheme in _BUCKET_SCHEMES)}"
        )
    return Path(url)


def _bucket(url: str) -> tuple["ObjectStore", str]:
    parts = urlsplit(url)
    return _store(f"{parts.scheme}://{parts.netloc}"), parts.path.lstrip("/")


@lru_cache(maxsize=16)
def _store(root: str) -> "ObjectStore":
    from obstore.store import from_url

    return from_url(
        root
    )  # credentials and endpoint from the environment (AWS_*, AZURE_*, GOOGLE_*)
