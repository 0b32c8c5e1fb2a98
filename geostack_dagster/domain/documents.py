"""JSON documents that the project reads back from its storage."""

import json
from collections.abc import Callable
from typing import Any

from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import DamagedError, IntegrityError

_STUMBLES = (ValueError, LookupError, TypeError, AttributeError)
"""What code raises over a document that is not what it should be."""


def read_back[T](content: bytes | str, url: str, build: Callable[[Any], T], *, remedy: str) -> T:
    """What a document says.

    Args:
        content: JSON text.
        url: Where it lies, for people.
        build: Makes the value of the parsed JSON; whatever it stumbles over is damage.
        remedy: What a person does about a damaged one: `restore it`.

    Raises:
        DamagedError: If it is cut off, no JSON, or not what `build` wants.
    """
    try:
        return build(json.loads(content))
    except IntegrityError:  # it says what is wrong already
        raise
    except _STUMBLES as error:
        raise DamagedError(f"{canonical(url)} is damaged ({_told(error)}); {remedy}") from error


def _told(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: {error}"
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
