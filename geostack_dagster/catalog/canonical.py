"""Items whose hrefs carry no signature, so that they can be stored."""

from collections.abc import Mapping
from typing import Any

from geostack_dagster.domain.hrefs import canonical


def make_canonical(item: dict[str, Any]) -> None:
    """Strip signatures from the hrefs of all links, assets and alternates, in place."""
    links = item.get("links")
    assets = item.get("assets")
    for holder in links if isinstance(links, list) else ():
        _strip(holder)
    for asset in assets.values() if isinstance(assets, dict) else ():
        _strip(asset)


def _strip(holder: Any) -> None:
    if not isinstance(holder, dict):
        return
    href = holder.get("href")
    if isinstance(href, str) and "?" in href:
        holder["href"] = canonical(href)
    alternate = holder.get("alternate")
    if isinstance(alternate, Mapping):
        for other in alternate.values():
            _strip(other)
