"""All twins together: one application that serves every host, and what they hold."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from geostack_dagster.domain.item import Item, assets, item_id
from geostack_dagster.sandbox import s3
from geostack_dagster.sandbox.archive import Archive, place_of
from geostack_dagster.sandbox.blob import HOST_SUFFIX, BlobTwin
from geostack_dagster.sandbox.catalogue import Key
from geostack_dagster.sandbox.dialects import DIALECTS, EARTH_SEARCH, PLANETARY_COMPUTER
from geostack_dagster.sandbox.faults import Gate
from geostack_dagster.sandbox.objects import TileRenderer, Vault
from geostack_dagster.sandbox.s3 import S3Twin
from geostack_dagster.sandbox.sas import SasAuthority
from geostack_dagster.sandbox.sas_api import sas_routes
from geostack_dagster.sandbox.scenes import Offer, offers
from geostack_dagster.sandbox.stac_api import StacTwin
from geostack_dagster.sandbox.world import World

_REGIONS = ("us-west-2", "us-east-1", "eu-central-1", "eu-west-1")
HOSTS = (
    *(dialect.host for dialect in DIALECTS),
    f"*{HOST_SUFFIX}",
    "s3.amazonaws.com",
    "*.s3.amazonaws.com",
    *(f"s3.{region}.amazonaws.com" for region in _REGIONS),
    *(f"*.s3.{region}.amazonaws.com" for region in _REGIONS),
)
"""Host globs that the redirector lets through; also the names on the certificate."""


class Twins:
    """The providers as the sandbox knows them."""

    def __init__(self, *, token_lifetime_s: float, tile_cache_bytes: int) -> None:
        self.world = World()
        self.vault = Vault()
        self.authority = SasAuthority(token_lifetime_s)
        self.renderer = TileRenderer(tile_cache_bytes)
        self.archives = {
            dialect.slug: Archive(self.vault, self.renderer, self.world) for dialect in DIALECTS
        }
        self._offers: dict[tuple[str, str], Offer] = {}
        self._pending: dict[tuple[str, str], Item] = {}
        self.gate = Gate(self._dispatcher())
        for offer in offers():
            self._offer(offer, is_held_back=offer.is_late)

    def load(self, folder: Path, report: Callable[[str], None]) -> None:
        """Serve the Items recorded below a folder; what cannot be served is reported."""
        for path in sorted(folder.rglob("*.json")):
            name = str(path.relative_to(folder))
            try:
                item = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                report(f"skipped {name}: {error}")
                continue
            for line in self._take(item):
                report(f"{name}: {line}")

    def pending(self) -> list[dict[str, str]]:
        """Items that exist and are in no catalogue yet."""
        return [{"archive": archive, "id": name} for archive, name in self._pending]

    def arrive(self, name: str) -> str:
        """Publish an Item that was held back; returns its archive.

        Raises:
            KeyError: If none of that id is held back.
        """
        for archive, held in list(self._pending):
            if held == name:
                self.archives[archive].publish([self._pending.pop((archive, held))])
                return archive
        raise KeyError(name)

    def withdraw(self, name: str) -> str:
        """Take an Item out of its catalogue and its store; it can arrive again.

        Raises:
            KeyError: If no catalogue has it.
        """
        archive, key = self._find(name)
        self._pending[archive, name] = self.archives[archive].withdraw(key)
        return archive

    def reprocess(self, name: str, baseline: str | None) -> str:
        """Process an acquisition anew; returns the id of the new Item.

        Planetary Computer replaces the Item, Earth Search lists the new one beside it.

        Raises:
            KeyError: If it is not one of the synthetic Items.
        """
        archive, key = self._find(name)
        offer = self._offers[archive, name].reprocessed(baseline)
        if archive == PLANETARY_COMPUTER.slug:
            self.archives[archive].withdraw(key)
        return self._offer(offer, is_held_back=False)

    def _offer(self, offer: Offer, *, is_held_back: bool) -> str:
        item = offer.item(self.world)
        name = item_id(item)
        self._offers[offer.archive, name] = offer
        if is_held_back:
            self._pending[offer.archive, name] = item
        else:
            self.archives[offer.archive].publish([item])
        return name

    def _find(self, name: str) -> tuple[str, Key]:
        for slug, archive in self.archives.items():
            key = archive.catalogue.named(name)
            if key is not None:
                return slug, key
        raise KeyError(name)

    def _take(self, item: Any) -> Iterator[str]:
        if not isinstance(item, dict) or item.get("type") != "Feature" or "assets" not in item:
            yield "skipped: not a STAC Item"
            return
        slug = _archive_of(item)
        if slug is None:
            yield "skipped: none of its links or assets is on a host that has a twin"
            return
        if not item.get("collection"):
            yield "skipped: it names no collection"
            return
        archive = self.archives[slug]
        archive.publish([item])
        for reason, keys in archive.unrenderable(item).items():
            yield f"no pixels for {', '.join(keys)}: {reason}"

    def _dispatcher(self) -> ASGIApp:
        planetary = StacTwin(
            PLANETARY_COMPUTER, self.archives[PLANETARY_COMPUTER.slug].catalogue
        ).app()
        planetary.router.routes.extend(sas_routes(self.authority, PLANETARY_COMPUTER))
        earth_search = StacTwin(EARTH_SEARCH, self.archives[EARTH_SEARCH.slug].catalogue).app()
        by_host: dict[str, ASGIApp] = {
            PLANETARY_COMPUTER.host: planetary,
            EARTH_SEARCH.host: earth_search,
        }
        blobs, buckets = BlobTwin(self.vault, self.authority), S3Twin(self.vault)

        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            host = _host(scope)
            if host.endswith(HOST_SUFFIX):
                await blobs(scope, receive, send)
            elif s3.HOST.fullmatch(host):
                await buckets(scope, receive, send)
            elif host in by_host:
                await by_host[host](scope, receive, send)
            else:
                await Response(f"no twin for {host}", 421)(scope, receive, send)

        return dispatch


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value.decode("latin-1")).partition(":")[0]
    return ""


def _archive_of(item: Item) -> str | None:
    """The archive whose catalogue lists an Item: by its own links, else by where its assets lie."""
    links = item.get("links")
    hrefs = [str(link.get("href")) for link in links] if isinstance(links, list) else []
    for dialect in DIALECTS:
        if any(href.startswith(dialect.base) for href in hrefs):
            return dialect.slug
    stores = {place.store for place in map(place_of, assets(item).values()) if place is not None}
    return PLANETARY_COMPUTER.slug if "blob" in stores else None
