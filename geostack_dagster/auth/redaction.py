"""Keeping secrets out of logs and messages, and proving that none lies on disk."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import override

from geostack_dagster.domain.hrefs import SIGNATURE, redact

# The same expression over bytes: parquet, SQLite and logs are searched as they lie. Searching every
# byte takes 7 MB/s; looking at the surroundings of what every signature holds takes 150.
_SIGNATURE_BYTES = re.compile(SIGNATURE.pattern.encode())
_ANCHORS = (
    *(
        b"sig=",
        b"sig%3d",
        b"x-amz-s",
        b"x-amz-credential",
        b"aws4-hmac-sha256",
        b"bearer",
        b"basic",
    ),
    *(b"_token", b"client_secret", b"secretaccesskey", b"sessiontoken", b"subscription-key"),
)
_BEFORE, _AFTER = 32, 512
_LOGIN_IN_URL = re.compile(rb"://[^\s/:@\"'<>]+:[^\s/:@\"'<>]+@")
_WINDOW = 1 << 23
_SHOWN = 32
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
    known = [secret.encode() for secret in secrets if secret]
    return [leak for path in paths for file in _files(path) for leak in _leaks(file, known)]


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink():
        return
    if path.is_file():
        yield path
    elif path.is_dir():
        for child in sorted(path.iterdir()):
            yield from _files(child)


def _leaks(path: Path, known: list[bytes]) -> Iterator[Leak]:
    found: dict[int, bytes] = {}
    with path.open("rb") as file:
        window, start = file.read(_WINDOW), 0
        while window:
            found |= {start + at: text for at, text in _in_window(window, known)}
            fresh = file.read(_WINDOW)
            kept = window[-_AFTER:]  # a signature may lie across the seam
            start += len(window) - len(kept)
            window = kept + fresh if fresh else b""
    for offset, text in sorted(found.items()):
        yield Leak(path, offset, _masked(text.decode("ascii", "replace")))


def _in_window(window: bytes, known: list[bytes]) -> Iterator[tuple[int, bytes]]:
    lowered = window.lower()
    for anchor in _ANCHORS:
        for at in _positions(lowered, anchor):
            leak = _SIGNATURE_BYTES.search(window, max(at - _BEFORE, 0), at + _AFTER)
            if leak is not None:
                yield leak.start(), leak.group()
    for at in _positions(lowered, b"://"):
        login = _LOGIN_IN_URL.match(window, at, at + _AFTER)
        if login is not None:
            yield at, b"login in a URL="
    for secret in known:
        for at in _positions(window, secret):
            yield at, b"known secret="


def _positions(text: bytes, part: bytes) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _masked(text: str) -> str:
    """The key of a leak without its value: enough to find the writer."""
    return re.split(r"(?<=[=:\s])", text, maxsplit=1)[0][:_SHOWN] + "..."
