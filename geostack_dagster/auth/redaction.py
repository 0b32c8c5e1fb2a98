"""Keeping secrets out of logs and messages, and proving that none lies on disk."""

import logging
import mmap
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import override

from geostack_dagster.domain.hrefs import SIGNATURE, redact

# The same expression over bytes: parquet, SQLite and logs are searched as they lie.
_SIGNATURE_BYTES = re.compile(SIGNATURE.pattern.encode())
_SHOWN = 24
_OS_ERROR_TEXTS = ("strerror", "filename", "filename2")  # OSError keeps them beside its args


class RedactingFilter(logging.Filter):
    """Masks signatures and tokens in a record: message, arguments, traceback and stack.

    A logger's filter does not see what its children log: install it on handlers, or use
    `redact_logs` for all loggers of the process.
    """

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """True always, after masking the record in place."""
        message = record.getMessage()
        masked = redact(message)
        if masked != message:
            record.msg, record.args = masked, ()
        if record.exc_info and not record.exc_text:
            # Formatters print exc_text as it is where it is set.
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def redact_logs() -> None:
    """Mask signatures in every record that any logger of this process makes from now on."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory(make))


class _RedactingFactory:
    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make
        self._filter = RedactingFilter()

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        self._filter.filter(record)
        return record


def scrub[E: BaseException](error: E) -> E:
    """The same exception with signatures masked in its text, its notes and its causes.

    For what GDAL or an HTTP client raises, before it reaches a log or a Dagster event.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.args = tuple(redact(a) if isinstance(a, str) else a for a in current.args)
        for name in _OS_ERROR_TEXTS:
            if isinstance(value := getattr(current, name, None), str):
                setattr(current, name, redact(value))
        notes: list[str] = getattr(current, "__notes__", [])
        notes[:] = [redact(note) for note in notes]
        pending += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
    return error


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret found in a file; `excerpt` shows its beginning only."""

    path: Path
    offset: int
    excerpt: str


def scan(paths: Iterable[Path], *, secrets: Iterable[str] = ()) -> list[Leak]:
    """Every signature, token or known secret value in files and, recursively, folders.

    Bytes are searched as they lie; compressed data is not unpacked. Links are not followed.

    Args:
        paths: Files and folders; what is absent holds no leak.
        secrets: Values that must not be found, such as a sandbox's passwords.
    """
    patterns = [_SIGNATURE_BYTES, *(re.compile(re.escape(s.encode())) for s in secrets if s)]
    return [leak for path in paths for file in _files(path) for leak in _leaks(file, patterns)]


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink():
        return
    if path.is_file():
        yield path
    elif path.is_dir():
        for child in sorted(path.iterdir()):
            yield from _files(child)


def _leaks(path: Path, patterns: list[re.Pattern[bytes]]) -> Iterator[Leak]:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for pattern in patterns:
            for found in pattern.finditer(content):
                shown = found.group()[:_SHOWN].decode("ascii", "replace")
                yield Leak(path, found.start(), _masked(shown))


def _masked(text: str) -> str:
    """The key of a leak without its value: enough to find the writer."""
    return re.split(r"(?<=[=:\s])", text, maxsplit=1)[0][: _SHOWN // 2] + "..."
