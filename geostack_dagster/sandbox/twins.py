"""All twins together: one application that serves every host, and what they hold."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geostack_dagster.domain.item import Item, assets, item_id, properties
from geostack_dagster.providers import PROVIDERS
from geostack_dagster.sandbox.accounts import Accounts
from geostack_dagster.sandbox.archive import Archive
from geostack_dagster.sandbox.catalogue import Key
from geostack_dagster.sandbox.dialects import CDSE, CMR_STAC, DIALECTS, DLR, PLANETARY_COMPUTER
from geostack_dagster.sandbox.emit_granules import l1b_offers
from geostack_dagster.sandbox.faults import Gate
from geostack_dagster.sandbox.lifetime import Lifetime
from geostack_dagster.sandbox.objects import Make, TileRenderer, Vault
from geostack_dagster.sandbox.offer import Offer
from geostack_dagster.sandbox.places import (
    CDSE_HOST,
    DLR_HOST,
    EODATA,
    LP_PROTECTED,
    LP_PUBLIC,
    place_of,
)
from geostack_dagster.sandbox.scenes import sentinel2_offers
from geostack_dagster.sandbox.service import Setting
from geostack_dagster.sandbox.services import SERVICES
from geostack_dagster.sandbox.spectrometer_offers import emit_offers, enmap_offers, field_offers
from geostack_dagster.sandbox.switch import by_host
from geostack_dagster.sandbox.world import World

OFFERS: tuple[Callable[[], Iterator[Offer]], ...] = (
    sentinel2_offers,
    emit_offers,
    l1b_offers,
    enmap_offers,
)
"""Where the synthetic catalogue comes from."""


_OFFSET_FLAG = "earthsearch:boa_offset_applied"
_HOLDERS = {
    EODATA: CDSE.slug,
    CDSE_HOST: CDSE.slug,
    LP_PROTECTED: CMR_STAC.slug,
    LP_PUBLIC: CMR_STAC.slug,
    DLR_HOST: DLR.slug,
}
"""Whose files lie in a bucket or on a host."""


@dataclass(frozen=True, slots=True)
class _Held:
    """An Item that is in no catalogue, with the objects that come with it."""

    item: Item
    objects: Mapping[str, Make]


class Twins:
    """The providers as the sandbox knows them."""

    def __init__(
        self, *, token_lifetime_s: float, tile_cache_bytes: int, with_fields: bool = False
    ) -> None:
        world, vault, renderer = World(), Vault(), TileRenderer(tile_cache_bytes)
        lifetime = Lifetime(token_lifetime_s)
        self.setting = Setting(
            world=world,
            vault=vault,
            renderer=renderer,
            lifetime=lifetime,
            accounts=Accounts(lifetime),
            archives={slug: Archive(vault, renderer, world) for slug in PROVIDERS},
        )
        services = [make(self.setting) for make in SERVICES]
        apps = {host: service.app for service in services for host in service.hosts}
        self.hosts = tuple(dict.fromkeys(address.partition("/")[0] for address in apps))
        """Host globs that the redirector lets through; also the names on the certificate."""
        self.variables = {k: v for service in services for k, v in service.variables.items()}
        """Credentials of the account that the twins know."""
        self.withheld = {k: v for service in services for k, v in service.withheld.items()}
        """More of them, which are not exported."""
        self.gate = Gate(by_host(apps))
        self._offers: dict[tuple[str, str], Offer] = {}
        self._pending: dict[tuple[str, str], _Held] = {}
        for offers in (*OFFERS, field_offers) if with_fields else OFFERS:
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
        """Publish an Item that was held back; returns its archive, the first where several list it.

        Raises:
            KeyError: If none of that id is held back.
        """
        archives = [archive for archive, held in self._pending if held == name]
        for archive in archives:
            found = self._pending.pop((archive, name))
            self.setting.archives[archive].publish([found.item], found.objects)
        return _first(archives, name)

    def withdraw(self, name: str) -> str:
        """Take an Item out of its catalogues and its store; it can arrive again.

        Raises:
            KeyError: If no catalogue has it.
        """
        found = self._find(name)
        for archive, key in found:
            item = self.setting.archives[archive].withdraw(key)
            offer = self._offers.get((archive, name))
            objects = {} if offer is None else offer.objects(self.setting)
            self._pending[archive, name] = _Held(item, objects)
        return _first([archive for archive, _ in found], name)

    def mislabel(self, name: str) -> str:
        """Turn what an Item says of its offset into the contrary (earth-search issues 66 and 71).

        Raises:
            KeyError: If no catalogue has it, or it says nothing.
        """
        for archive, key in self._find(name):
            catalogue = self.setting.archives[archive].catalogue
            item = catalogue.withdraw(key)
            facts = dict(properties(item))
            facts[_OFFSET_FLAG] = not facts[_OFFSET_FLAG]
            catalogue.publish([{**item, "properties": facts}])  # objects know the Item of before
        return _first([archive for archive, _ in self._find(name)], name)

    def reprocess(self, name: str, baseline: str | None) -> str:
        """Process an acquisition anew; returns the id of the new Item.

        Some archives replace the Item (Planetary Computer), some list the new one beside it.

        Raises:
            KeyError: If it is not one of the synthetic Items.
        """
        renewed = []
        for archive, key in self._find(name):
            offer = self._offers[archive, name].reprocessed(baseline)
            if offer.is_replaced:
                self.setting.archives[archive].withdraw(key)
            renewed.append(self._offer(offer, is_held_back=False))
        return _first(renewed, name)

    def _offer(self, offer: Offer, *, is_held_back: bool) -> str:
        item, objects = offer.item(self.setting.world), offer.objects(self.setting)
        name = item_id(item)
        self._offers[offer.archive, name] = offer
        if is_held_back:
            self._pending[offer.archive, name] = _Held(item, objects)
        else:
            self.setting.archives[offer.archive].publish([item], objects)
        return name

    def _find(self, name: str) -> list[tuple[str, Key]]:
        """Archives that list an Item: LP DAAC's granules are in two catalogues."""
        keys = {slug: held.catalogue.named(name) for slug, held in self.setting.archives.items()}
        return [(slug, key) for slug, key in keys.items() if key is not None]

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
        archive = self.setting.archives[slug]
        archive.publish([item])
        for reason, keys in archive.unrenderable(item).items():
            yield f"no pixels for {', '.join(keys)}: {reason}"


def _first(found: list[str], name: str) -> str:
    if not found:
        raise KeyError(name)
    return found[0]


def _archive_of(item: Item) -> str | None:
    """The archive whose catalogue lists an Item: by its own links, else by where its assets lie."""
    links = item.get("links")
    hrefs = [str(link.get("href")) for link in links] if isinstance(links, list) else []
    for dialect in DIALECTS:
        if any(href.startswith(dialect.base) for href in hrefs):
            return dialect.slug
    for place in map(place_of, assets(item).values()):
        if place is not None and (place.store == "blob" or place.container in _HOLDERS):
            return _HOLDERS.get(place.container, PLANETARY_COMPUTER.slug)
    return None
