"""Fingerprints: the same content gives the same short digest, in any process."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_LENGTH = 20  # 80 bits: no accidental collision among 10^9 partitions, short enough to read


def fingerprint(content: Any) -> str:
    """Digest of JSON-like content; mapping order does not matter, list order does.

    Raises:
        TypeError: If it holds an object whose text is its address, and so differs by process.
    """
    encoded = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain
    )
    return hashlib.sha256(encoded.encode()).hexdigest()[:_LENGTH]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    if type(value).__str__ is object.__str__ and type(value).__repr__ is object.__repr__:
        raise TypeError(f"a {type(value).__name__} has no content to take a fingerprint of")
    return str(value)
