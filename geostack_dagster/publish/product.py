"""Publish a product: COG and quicklook first, the STAC Item that names them last.

Files carry a digest of their content in their names and the Item is replaced in one step, so a
reader always finds an Item whose files are there and match their checksums. A publication that
fails leaves no Item, or the one that was there before. Publishing the same content again leaves
the same bytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import numpy as np
import pystac
from PIL import __version__ as pillow_version

from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import assets
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.publish.annotation import Annotation
from geostack_dagster.publish.cog import BandText, Classes, CogReport, Map, multihash, write_cog
from geostack_dagster.publish.colours import Style, style_of
from geostack_dagster.publish.map_page import Caption, Masks
from geostack_dagster.publish.quicklook import index_map
from geostack_dagster.publish.stac_item import (
    Origin,
    data_asset,
    encoded,
    file_asset,
    mask_asset,
    product_id,
    product_item,
    same_content,
    stamped,
)
from geostack_dagster.storage import delete, read_bytes, write_bytes

_DIGEST_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with the maps, such as outlines."""

    suffix: str
    """Of the file's name: `.geojson`."""
    content: bytes = field(repr=False)
    media_type: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMap:
    """What each pixel's value may be used for, as classes in a COG of their own."""

    values: Classes = field(repr=False)
    """`y x`."""
    meanings: Mapping[int, tuple[str, str]]
    """Name and description of each class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Maps of one partition, and all that a reader is told about them."""

    origin: Origin
    grid: Grid
    bands: Mapping[str, Map]
    """float32 `y x` by name, NaN where there is no value."""
    texts: Mapping[str, BandText] = field(default_factory=dict)
    """Long name and unit by band."""
    shown: str | None = None
    """Band of the quicklook; the first by default."""
    style: Style | None = None
    """Colours of the quicklook; by default those of the band's name."""
    masks: Masks = field(default_factory=Masks)
    """Why pixels have no value, for the quicklook."""
    caption: Caption | None = None
    """Words of the quicklook; by default the band's name, the AOI and the day."""
    annotation: Annotation = field(default_factory=Annotation)
    """Outlines, wind and results on the quicklook."""
    mask: ClassMap | None = None
    """Published beside the maps, as the asset `mask`."""
    attachments: Mapping[str, Attachment] = field(default_factory=dict)
    """Other files, by the key of their asset."""

    def __post_init__(self) -> None:
        if not self.bands:
            raise ConfigurationError(f"product {self.origin.item_id} has no band to publish")
        if self.shown is not None and self.shown not in self.bands:
            raise ConfigurationError(
                f"product {self.origin.item_id} has no band {self.shown!r} to show; it has "
                f"{', '.join(self.bands)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """What lies in the folder now."""

    item_url: str
    item: Mapping[str, Any]
    cog: CogReport
    quicklook_url: str
    quicklook: bytes = field(repr=False)
    """PNG, less than 100 kB."""
    unchanged: bool
    """Whether the same content had been published before."""


def publish(product: Product, folder: str, *, now: datetime | None = None) -> PublishReport:
    """Write a product into a folder: a path, or a URL of an object store.

    Args:
        product: What to publish.
        folder: Without a final slash; `Layout.published` names it.
        now: Time stamp of the Item; the clock by default. `created` stays that of the first
            publication, `updated` moves only when the content does.

    Raises:
        ConfigurationError: If bands or masks do not fit the grid.
        IntegrityError: If any text holds a signature, or a file does not read back as written.
        RejectedCredentialError: If the object store refuses the credential.
        ServiceError: If the object store does not take a file.
    """
    product.origin.check_unsigned()  # before anything is written
    item_url = f"{folder}/{product.origin.item_id}.json"
    previous = _previous(item_url)
    stem = f"{product.origin.product}-{_digest(product)}"
    report = write_cog(
        f"{folder}/{stem}.tif",
        product.bands,
        product.grid,
        descriptions=product.texts,
        tags=_tags(product.origin),
    )
    mask = _mask(product, folder, stem)
    picture = _quicklook(product)
    write_bytes(f"{folder}/{stem}.png", picture)
    for attached in product.attachments.values():
        write_bytes(f"{folder}/{stem}{attached.suffix}", attached.content)
    described = _described(product, report, picture, stem) | mask
    document = product_item(product.origin, product.grid, described)
    moment = now or datetime.now(UTC)
    unchanged = previous is not None and same_content(previous, document)
    published = previous if unchanged and previous else stamped(document, moment, previous)
    if not unchanged:
        _write_item(item_url, published)
        _drop_orphans(folder, previous, published)
    return PublishReport(
        item_url=item_url,
        item=published,
        cog=report,
        quicklook_url=f"{folder}/{stem}.png",
        quicklook=picture,
        unchanged=unchanged,
    )


def published(partition: Partition, product: str, folder: str) -> dict[str, Any] | None:
    """The Item that a product was published with; None if there is none."""
    return _previous(f"{folder}/{product_id(partition, product)}.json")


def withdraw(partition: Partition, product: str, folder: str) -> None:
    """Take a published product back, the Item first; nothing happens if there is none."""
    item_url = f"{folder}/{product_id(partition, product)}.json"
    previous = _previous(item_url)
    delete(item_url)
    _drop_orphans(folder, previous, {})


def _digest(product: Product) -> str:
    """Of everything that decides the bytes of the COG and the quicklook."""
    maps = hashlib.sha256()
    for values in product.bands.values():
        maps.update(np.ascontiguousarray(values).data)
    for mask in (product.masks.clear, product.masks.observed):
        maps.update(b"-" if mask is None else np.packbits(mask).data)
    if product.mask is not None:
        maps.update(np.ascontiguousarray(product.mask.values).data)
        maps.update(_meaning(product.mask).encode())
    return fingerprint(
        {
            "maps": maps.hexdigest(),
            "bands": {name: str(values.shape) for name, values in product.bands.items()},
            "order": list(product.bands),
            "texts": {name: [text.long_name, text.unit] for name, text in product.texts.items()},
            "grid": product.grid.to_json(),
            "tags": _tags(product.origin),
            "attachments": {
                key: multihash(attached.content) for key, attached in product.attachments.items()
            },
            "facts": dict(product.origin.facts),
            "shown": product.shown,
            "style": str(product.style),
            "caption": str(product.caption),
            "annotation": str(product.annotation),
            "software": dict(product.origin.software) | {"pillow": pillow_version},
        }
    )[:_DIGEST_LENGTH]


def _tags(origin: Origin) -> dict[str, str]:
    return {
        "title": f"{origin.product} of {origin.partition.aoi}, {origin.partition.date}",
        "pipeline": origin.partition.pipeline,
        "fingerprint": origin.fingerprint,
        "lineage": origin.lineage,
        "software": ", ".join(f"{name} {known}" for name, known in sorted(origin.software.items())),
    }


def _quicklook(product: Product) -> bytes:
    name = product.shown or next(iter(product.bands))
    text = product.texts.get(name, BandText())
    partition = product.origin.partition
    return index_map(
        product.bands[name],
        product.grid,
        caption=product.caption
        or Caption(title=name, subtitle=text.long_name, aoi=partition.aoi, date=partition.date),
        style=product.style or style_of(name, unit=text.unit),
        masks=product.masks,
        annotation=product.annotation,
    )


def _mask(product: Product, folder: str, stem: str) -> dict[str, pystac.Asset]:
    """Write the mask, if there is one, and describe it."""
    if product.mask is None:
        return {}
    report = write_cog(
        f"{folder}/{stem}-mask.tif",
        {"mask": product.mask.values},
        product.grid,
        descriptions={"mask": BandText(long_name=_meaning(product.mask))},
        tags=_tags(product.origin),
    )
    asset = mask_asset(
        report,
        product.grid,
        href=f"./{stem}-mask.tif",
        title="What each pixel may be used for",
        meanings=product.mask.meanings,
    )
    return {"mask": asset}


def _meaning(mask: ClassMap) -> str:
    return ", ".join(f"{value} {name}" for value, (name, _) in mask.meanings.items())


def _described(
    product: Product, report: CogReport, picture: bytes, stem: str
) -> dict[str, pystac.Asset]:
    described = {
        "data": data_asset(
            report,
            product.grid,
            href=f"./{stem}.tif",
            texts=product.texts,
            title=", ".join(product.bands),
        ),
        "quicklook": file_asset(
            href=f"./{stem}.png",
            content=picture,
            media_type="image/png",
            title=f"{product.shown or next(iter(product.bands))} as a picture",
            roles=("thumbnail", "overview"),
        ),
    }
    return described | {
        key: file_asset(
            href=f"./{stem}{attached.suffix}",
            content=attached.content,
            media_type=attached.media_type,
            title=attached.title,
        )
        for key, attached in product.attachments.items()
    }


def _previous(item_url: str) -> dict[str, Any] | None:
    """The Item of an earlier publication; None if there is none, or none that can be read."""
    try:
        return read_back(read_bytes(item_url), item_url, _whole, remedy="publish it again")
    except (FileNotFoundError, IntegrityError):
        return None


def _whole(item: dict[str, Any]) -> dict[str, Any]:
    """The Item, if it has what is asked of one."""
    itemgetter("geostack:fingerprint")(item["properties"])
    for asset in item["assets"].values():
        itemgetter("href")(asset)
    return item


def _write_item(item_url: str, document: Mapping[str, Any]) -> None:
    content = encoded(document)
    write_bytes(item_url, content)
    if read_bytes(item_url) != content:
        delete(item_url)
        raise IntegrityError(f"{item_url} does not read back as it was written; it was removed")


def _drop_orphans(
    folder: str, previous: Mapping[str, Any] | None, document: Mapping[str, Any]
) -> None:
    """Delete files that only the previous Item named; never anything outside the folder."""
    kept = {str(asset.get("href")) for asset in assets(document).values()}
    for asset in assets(previous or {}).values():
        href = str(asset.get("href"))
        if href not in kept and href.startswith("./") and href.count("/") == 1:
            delete(f"{folder}/{href.removeprefix('./')}")
