"""Small JSON documents of the loop."""

import json
from collections.abc import Mapping
from typing import Any

from geostack_dagster import storage
from geostack_dagster.domain.documents import read_mapping

CHALLENGER = "challenger.json"
"""Names the present challenger, and what it learnt from."""


def read_document(url: str) -> dict[str, Any]:
    """A document.

    Raises:
        FileNotFoundError: If there is none.
        DamagedError: If it is cut off, or none of the loop's; when it is asked for a member that
            it lacks, too.
    """
    remedy = "restore it, or delete it to make it anew"
    return read_mapping(storage.read_bytes(url), url, remedy=remedy)


def find_document(url: str) -> dict[str, Any] | None:
    """A document; None if there is none. Raises DamagedError as `read_document`."""
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
