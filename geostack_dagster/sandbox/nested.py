"""Query strings that hold lists and objects in brackets, as `qs` of Node.js writes and reads them.

`collections[0]=a&query[eo:cloud_cover][lt]=5` is what CMR-STAC makes of a POST when it links to the
next page.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

_LONGEST_LIST = 100  # CMR-STAC's own setting; longer lists come back as objects
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PARTS = re.compile(r"\[([^\[\]]*)\]")
_PLAIN = ":,/"


def written(parameters: Mapping[str, Any]) -> str:
    """A query string; strings and numbers stay as they are."""
    return "&".join(
        f"{quote(name, safe=_PLAIN)}={quote(value, safe=_PLAIN)}"
        for key, held in parameters.items()
        for name, value in _flat(key, held)
    )


def read(query: Mapping[str, str]) -> dict[str, Any]:
    """Parameters of a query string, bracketed ones as lists and objects of strings."""
    found: dict[str, Any] = {}
    for name, value in query.items():
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        path = [match[1], *_PARTS.findall(match[2])]
        holder = found
        for part in path[:-1]:
            inner = holder.setdefault(part, {})
            if not isinstance(inner, dict):
                break
            holder = inner
        else:
            holder[path[-1]] = value
    return {name: _listed(value) for name, value in found.items()}


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, held in value.items():
            yield from _flat(f"{name}[{key}]", held)
    elif isinstance(value, list | tuple):
        for index, held in enumerate(value):
            yield from _flat(f"{name}[{index}]", held)
    else:
        yield name, str(value)


def _listed(value: Any) -> Any:
    """Objects with the keys 0, 1, ... as lists."""
    if not isinstance(value, dict):
        return value
    inner = {key: _listed(held) for key, held in value.items()}
    is_list = list(inner) == [str(index) for index in range(len(inner))]
    return list(inner.values()) if is_list and len(inner) <= _LONGEST_LIST else inner
