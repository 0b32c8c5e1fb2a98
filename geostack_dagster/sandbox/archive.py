"""One provider's holdings: the catalogue it searches and the objects its Items point to."""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache

import numpy as np

from geostack_dagster.domain.item import (
    Asset,
    Item,
    assets,
    item_id,
    moment,
    parse_datetime,
    properties,
)
from geostack_dagster.errors import IntegrityError
from geostack_dagster.sandbox.catalogue import Catalogue, Key
from geostack_dagster.sandbox.cog import Window
from geostack_dagster.sandbox.jp2 import VirtualJp2
from geostack_dagster.sandbox.media import (
    JP2,
    JPEG,
    ZIP,
    is_image,
    is_picture,
    is_written,
    media_of,
)
from geostack_dagster.sandbox.objects import (
    Document,
    Make,
    Stored,
    TileRenderer,
    Vault,
    cog_object,
    jp2_object,
)
from geostack_dagster.sandbox.pixels import Layer, UnrenderableError, layer_of
from geostack_dagster.sandbox.places import place_of, places_of
from geostack_dagster.sandbox.spectral_layer import painter_of
from geostack_dagster.sandbox.world import World

_TILE = {"blob": 512, "s3": 1024, "https": 512}
_THUMBNAIL_STEP = 32


class Archive:
    """Publishes Items with their objects, and takes them back."""

    def __init__(self, vault: Vault, renderer: TileRenderer, world: World) -> None:
        self.catalogue = Catalogue()
        self._vault = vault
        self._renderer = renderer
        self._world = world

    def publish(self, items: Iterable[Item], objects: Mapping[str, Make] | None = None) -> None:
        """Add Items with their objects, by asset key; the world renders what is not given."""
        given = objects or {}
        for item in items:
            self.catalogue.publish([item])
            # Several assets may lead to one object: what is given for any of them counts.
            for key in sorted(assets(item), key=lambda key: key in given):
                make = given.get(key) or self._maker(item, key)
                for place in places_of(assets(item)[key]):
                    self._vault.put(place.store, place.container, place.key, make)

    def withdraw(self, key: Key) -> Item:
        """Take an Item and its objects away.

        Raises:
            KeyError: If there is no such Item.
        """
        item = self.catalogue.withdraw(key)
        for asset in assets(item).values():
            for place in places_of(asset):
                self._vault.remove(place.store, place.container, place.key)
        return item

    def unrenderable(self, item: Item) -> dict[str, list[str]]:
        """Keys of assets that lie on a twin and have no content, by reason."""
        reasons: dict[str, list[str]] = {}
        for key, asset in assets(item).items():
            reason = None if place_of(asset) is None else self._lack(item, key)
            if reason is not None:
                reasons.setdefault(reason, []).append(key)
        return reasons

    def _lack(self, item: Item, key: str) -> str | None:
        """Why an asset has no content; None if it has."""
        asset = assets(item)[key]
        if is_picture(asset) or is_written(asset):
            return None
        if not is_image(asset):
            return f"{media_of(asset)} is made for Items of the sandbox's own only"
        try:
            painter_of(item, key, self._world)
        except (UnrenderableError, IntegrityError) as error:
            return str(error)
        return None

    def _maker(self, item: Item, key: str) -> Make:
        @cache
        def make() -> Stored | None:
            asset = assets(item)[key]
            if not is_image(asset):
                return self._document(item, asset)
            try:
                layer = painter_of(item, key, self._world)
            except (UnrenderableError, IntegrityError):
                return None
            name = f"{item_id(item)}|{asset['href']}"
            if media_of(asset) == JP2 and isinstance(layer, Layer):
                layout = VirtualJp2(layer.spec, layer.is_empty)
                return jp2_object(name, layout, layer, self._renderer, _stored_at(item))
            place = place_of(asset)
            spec = layer.spec
            tile = _TILE[place.store if place else "blob"]
            return cog_object(name, spec.tiled(tile), layer, self._renderer, _stored_at(item))

        return make

    def _document(self, item: Item, asset: Asset) -> Document | None:
        media = media_of(asset)
        if is_picture(asset):
            return Document(lambda: self._picture(item, media), _stored_at(item), media)
        if not is_written(asset):
            return None
        return Document(lambda: _metadata(item, media), _stored_at(item), media)

    def _picture(self, item: Item, media: str) -> bytes:
        """A small true-colour picture, from the item's true-colour image."""
        from PIL import Image

        pixels = np.zeros((1, 1, 3), np.uint8)
        if "visual" in assets(item):
            layer = layer_of(item, "visual", self._world)
            height, width = (size // _THUMBNAIL_STEP for size in layer.spec.shape)
            pixels = layer(
                Window(step=_THUMBNAIL_STEP, row=0, column=0, height=height, width=width)
            ).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG" if media == JPEG else "PNG")
        return buffer.getvalue()


def _stored_at(item: Item) -> datetime:
    stated = properties(item)
    for name in ("updated", "created", "s2:generation_time"):
        found = parse_datetime(stated.get(name))
        if found is not None:
            return found
    try:
        return moment(item)
    except IntegrityError:
        return datetime(2020, 1, 1, tzinfo=UTC)


def _metadata(item: Item, media: str) -> bytes:
    """What the sandbox has instead of the archive's metadata files."""
    facts = {"item": item_id(item), "note": "made by the sandbox"}
    if "json" in media:
        return json.dumps(facts).encode()
    document = f"<?xml version='1.0'?><Product><Item>{facts['item']}</Item></Product>"
    if media != ZIP:
        return document.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.safe", document)
    return buffer.getvalue()
