"""Small JSON documents of the loop."""

import json
from collections.abc import Mapping
from typing import Any

from geostack_dagster import storage


def read_document(url: str) -> dict[str, Any]:
    """A document.

    Raises:
        FileNotFoundError: If there is none.
    """
    found: dict[str, Any] = json.loads(storage.read_bytes(url))
    return found


def find_document(url: str) -> dict[str, Any] | None:
    """A document; None if there is none."""
    try:
        return read_document(url)
    except FileNotFoundError:
        return None


def encoded(document: Mapping[str, Any]) -> bytes:
    """Bytes of a document."""
    return (json.dumps(document, indent=1) + "\n").encode()


def write_document(url: str, document: Mapping[str, Any]) -> None:
    """Write a document whole."""
    storage.write_bytes(url, encoded(document))
