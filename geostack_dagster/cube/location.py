"""Where a repository is: a URL taken apart, and the lock beside a local one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from geostack_dagster.errors import ConfigurationError, ConflictError

ACCOUNT_VARIABLE = "AZURE_STORAGE_ACCOUNT_NAME"
_BUCKETS = ("s3", "az", "gs")
_PATIENCE_S = 300.0  # a commit takes milliseconds; a queue of writers may take a minute
_POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Location:
    """A folder, or a prefix in a bucket."""

    scheme: str
    bucket: str
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Location of a path or URL.

        Raises:
            ConfigurationError: If the scheme is unknown, or a bucket is given without a prefix.
        """
        parts = urlsplit(url)
        if parts.scheme in ("", "file"):
            path = unquote(parts.path) if parts.scheme else url
            return cls("file", "", str(Path(path).expanduser().absolute()))
        if parts.scheme not in _BUCKETS:
            raise ConfigurationError(
                f"cube URL {url!r} has scheme {parts.scheme!r}; use a path, file://, "
                f"{', '.join(scheme + '://' for scheme in _BUCKETS)}"
            )
        prefix = parts.path.strip("/")
        if not parts.netloc or not prefix:
            raise ConfigurationError(
                f"cube URL {url!r} needs a bucket and a prefix, as in s3://bucket/cubes/aoi"
            )
        return cls(parts.scheme, parts.netloc, prefix)

    @property
    def local(self) -> bool:
        """Whether it is on this machine's file system."""
        return self.scheme == "file"

    @property
    def account(self) -> str | None:
        """Azure storage account, which the environment names and the URL does not."""
        return os.environ.get(ACCOUNT_VARIABLE) if self.scheme == "az" else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the repository's lock, where one is needed: on a file system.

        A file system has no conditional writes; without the lock Icechunk loses commits there
        (measured: 59 of 200 with 8 writers). The operating system frees the lock of a process
        that dies. Object stores need none.

        Raises:
            ConflictError: If others hold it for 5 minutes.
        """
        if not self.local:
            yield
            return
        lock = Path(f"{self.path}.lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=_PATIENCE_S, poll_interval=_POLL_S, thread_local=False):
                yield
        except Timeout as error:
            raise ConflictError(
                f"waited {_PATIENCE_S:.0f} s for other writers of {self.path} to release "
                f"{lock.name}; retry later"
            ) from error
