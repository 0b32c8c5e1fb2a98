"""What counts as the content of an Item: the facts that, when they change, make it another one.

Links, previews, tile services, signatures and expiry dates do not count: catalogues write those
anew with every answer.
"""

from collections.abc import Mapping
from typing import Any

from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.domain.item import Asset, Item, assets, parse_datetime, properties

_WHEN = ("datetime", "start_datetime", "end_datetime")
_MADE = (
    "created",
    "updated",
    "processing:datetime",
    "s2:generation_time",
    "landsat:processing_date",
)
_CHECKSUMS = ("file:checksum", "checksum:multihash", "file:size")
_PASSING_KEYS = frozenset({"tilejson", "rendered_preview", "thumbnail", "preview"})
_PASSING_ROLES = frozenset({"tiles", "thumbnail"})
_DECIMALS = 7  # of a degree, 1 cm: how a catalogue prints the rest is not content


def item_fingerprint(item: Item) -> str:
    """Digest of an Item's content; equal for two answers that mean the same."""
    stated = properties(item)
    return fingerprint(
        [
            item.get("id"),
            item.get("collection"),
            {name: _instant(stated[name]) for name in (*_WHEN, *_MADE) if stated.get(name)},
            _rounded(item.get("geometry")),
            {key: _asset(asset) for key, asset in assets(item).items() if _lasts(key, asset)},
        ]
    )


def _lasts(key: str, asset: Asset) -> bool:
    roles = asset.get("roles")
    passing = isinstance(roles, list) and not _PASSING_ROLES.isdisjoint(map(str, roles))
    return key not in _PASSING_KEYS and not passing


def _asset(asset: Asset) -> list[Any]:
    href = asset.get("href")
    checksums = [asset[name] for name in _CHECKSUMS if name in asset]
    return [canonical(href) if isinstance(href, str) else href, *checksums]


def _instant(value: object) -> str:
    moment = parse_datetime(value)
    return str(value) if moment is None else moment.isoformat()


def _rounded(value: Any) -> Any:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return round(float(value), _DECIMALS) + 0.0  # and no negative zero
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    if isinstance(value, Mapping):
        return {name: _rounded(member) for name, member in value.items()}
    return value
