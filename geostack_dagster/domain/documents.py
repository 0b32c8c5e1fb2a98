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


def read_mapping(content: bytes | str, url: str, *, remedy: str) -> dict[str, Any]:
    """A document as a dictionary; it, and those in it, say where they lie when they lack a member.

    So code that takes a document apart elsewhere need not ask for each member first.

    Raises:
        DamagedError: If it is cut off or no JSON object; later, if a member is asked for in
            brackets that it lacks.
    """

    def checked(document: Any) -> dict[str, Any]:
        if not isinstance(document, dict):
            raise TypeError("no JSON object")
        found: dict[str, Any] = _telling(document, canonical(url), remedy)
        return found

    return read_back(content, url, checked, remedy=remedy)


class _Telling(dict[str, Any]):
    """A JSON object that says where it lies when it lacks a member."""

    url = remedy = ""

    def __missing__(self, member: str) -> Any:
        raise DamagedError(f"{self.url} is damaged (it lacks {member!r}); {self.remedy}")


def _telling(value: Any, url: str, remedy: str) -> Any:
    if isinstance(value, list):
        return [_telling(one, url, remedy) for one in value]
    if not isinstance(value, dict):
        return value
    found = _Telling({name: _telling(one, url, remedy) for name, one in value.items()})
    found.url, found.remedy = url, remedy
    return found


def _told(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: {error}"
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
