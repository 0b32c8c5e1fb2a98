"""The STAC 1.1 Item of one published product: what it is, where it lies, what it was made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import pystac
import rasterio
from pystac.errors import STACValidationError
from pystac.stac_object import STACObjectType
from pystac.validation import JsonSchemaSTACValidator

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.hrefs import SIGNATURE
from geostack_dagster.domain.item import Item, item_id, moment, parse_datetime, properties
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import IntegrityError
from geostack_dagster.publish.cog import MEDIA_TYPE, BandText, CogReport, multihash
from geostack_dagster.publish.footprint import footprint, pixel_size_m

EXTENSIONS = (
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
)
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
"""Of Items with a mask, besides the others."""
_ONE_PASS = timedelta(days=1)
_VOLATILE = ("created", "updated")
_STAC_VERSION = "1.1.0"


def software_versions() -> dict[str, str]:
    """Versions of what decides the published numbers and bytes."""
    packages = {name: version(name) for name in ("geostack-dagster", "jax", "numpy", "rasterio")}
    return packages | {"gdal": str(rasterio.__gdal_version__)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a product is and what it was made from."""

    partition: Partition
    aoi: AOI
    product: str
    """Short name, part of ids and file names: `indices`."""
    fingerprint: str
    """Of the cube's partition, so that a reader can tell a stale product."""
    sources: tuple[Item, ...] = ()
    """Items whose pixels went in."""
    lineage: str = ""
    """How it was made, in a sentence or two."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else the Item says, each under `geostack:`; JSON values."""
    software: Mapping[str, str] = field(default_factory=software_versions)

    def check_unsigned(self) -> None:
        """Refuse to be published with a signature in any text that would be written.

        Raises:
            IntegrityError: Naming the member, not the signature.
        """
        check_unsigned(
            {
                "id": self.item_id,
                "fingerprint": self.fingerprint,
                "lineage": self.lineage,
                "software": self.software,
                "facts": self.facts,
                "derived_from": [self_href(source) or "" for source in self.sources],
            }
        )

    @property
    def item_id(self) -> str:
        """Id of the Item: the same for every publication of the same partition."""
        return product_id(self.partition, self.product)


def product_id(partition: Partition, product: str) -> str:
    """Id of the Item of a partition's product."""
    return f"{partition.pipeline}-{product}-{partition.aoi}-{partition.date}"


def product_item(origin: Origin, grid: Grid, assets: Mapping[str, pystac.Asset]) -> dict[str, Any]:
    """The Item as JSON, valid against the STAC core schemas and free of signatures.

    It has no time stamps yet, so that equal products give equal Items; `stamped` adds them.

    Asset hrefs stay as they are given: relative ones keep the folder portable. Source Items are
    linked as `derived_from` by their self hrefs, and named in `geostack:sources` whether they
    have one or not.

    Raises:
        IntegrityError: If any member holds a signature, or the Item is not valid STAC.
    """
    geometry, bbox = footprint(grid)
    first, last = _interval(origin)
    item = pystac.Item(
        id=origin.item_id,
        geometry=geometry,
        bbox=list(bbox),
        datetime=first if last - first < _ONE_PASS else None,
        start_datetime=first,
        end_datetime=last,
        properties=_properties(origin, grid),
        stac_extensions=sorted(_extensions(assets)),
    )
    for key, asset in assets.items():
        item.add_asset(key, asset)
    for href in sorted({href for source in origin.sources if (href := self_href(source))}):
        item.add_link(pystac.Link("derived_from", href, media_type="application/geo+json"))
    document: dict[str, Any] = json.loads(
        encoded(item.to_dict(include_self_link=False, transform_hrefs=False))
    )
    check_unsigned(document)
    _check_valid(document)
    return document


def data_asset(
    report: CogReport, grid: Grid, *, href: str, texts: Mapping[str, BandText], title: str
) -> pystac.Asset:
    """Asset of a COG: grid, bands with units and statistics, size and checksum."""
    return pystac.Asset(
        href,
        title=title,
        media_type=MEDIA_TYPE,
        roles=["data"],
        extra_fields={
            "proj:code": grid.crs,
            "proj:shape": list(grid.shape),
            "proj:transform": list(grid.transform),
            "proj:bbox": list(grid.bounds),
            "raster:spatial_resolution": round(pixel_size_m(grid)[1], 3),
            "raster:sampling": "area",
            "data_type": "float32",
            "nodata": "nan",
            "bands": [
                _band(name, texts.get(name, BandText()), report) for name in report.statistics
            ],
            "file:size": report.size,
            "file:checksum": report.checksum,
        },
    )


def mask_asset(
    report: CogReport, grid: Grid, *, href: str, title: str, meanings: Mapping[int, tuple[str, str]]
) -> pystac.Asset:
    """Asset of a COG of classes: what each value means, besides all that `data_asset` says."""
    asset = data_asset(report, grid, href=href, texts={}, title=title)
    asset.roles = ["data-mask"]
    classes = [
        {"value": value, "name": name, "description": words}
        for value, (name, words) in meanings.items()
    ]
    del asset.extra_fields["nodata"]
    asset.extra_fields |= {"data_type": "uint8", "classification:classes": classes}
    return asset


def file_asset(
    *, href: str, content: bytes, media_type: str, title: str, roles: Sequence[str] = ("data",)
) -> pystac.Asset:
    """Asset of a file that is known whole, with its size and checksum."""
    return pystac.Asset(
        href,
        title=title,
        media_type=media_type,
        roles=list(roles),
        extra_fields={"file:size": len(content), "file:checksum": multihash(content)},
    )


def encoded(document: Mapping[str, Any]) -> bytes:
    """JSON bytes of an Item: the same Item gives the same bytes."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def stamped(
    document: Mapping[str, Any], now: datetime, previous: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The Item with `updated` now, and `created` then or as the previous Item has it."""
    stamp = pystac.utils.datetime_to_str(now.astimezone(UTC), timespec="seconds")
    created = properties(previous or {}).get("created")
    known = created if parse_datetime(created) is not None else stamp
    stamps = {"created": known, "updated": stamp}
    return {**document, "properties": {**document["properties"], **stamps}}


def same_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two Items differ at most in when they were created and updated."""
    return _lasting(one) == _lasting(other)


def self_href(item: Item) -> str | None:
    """Where an Item stands in its catalogue: its `self` link, else what it was made from (`via`).

    None if it tells neither. Items made of CMR's granules have the latter alone.
    """
    links = item.get("links")
    told = {
        link["rel"]: str(link["href"])
        for link in (reversed(links) if isinstance(links, list) else ())
        if isinstance(link, Mapping) and link.get("rel") and link.get("href")
    }
    return told.get("self") or told.get("via")


def check_unsigned(document: Mapping[str, Any]) -> None:
    """Refuse an Item in which any text holds a signature.

    Raises:
        IntegrityError: Naming the member, not the signature.
    """
    for place, text in _texts(document, ""):
        if SIGNATURE.search(text):
            raise IntegrityError(
                f"{place} of Item {document.get('id')} holds a signature; publish the canonical "
                "href (domain.hrefs.canonical) instead"
            )


def _extensions(assets: Mapping[str, pystac.Asset]) -> set[str]:
    has_classes = any("classification:classes" in one.extra_fields for one in assets.values())
    return {*EXTENSIONS, CLASSIFICATION} if has_classes else set(EXTENSIONS)


def _properties(origin: Origin, grid: Grid) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": f"{origin.product} of {origin.partition.aoi}, {origin.partition.date}",
        "gsd": round(pixel_size_m(grid)[1], 3),
        "processing:software": dict(sorted(origin.software.items())),
        "processing:facility": "geostack_dagster",
        "processing:lineage": origin.lineage,
        "proj:code": grid.crs,
        "geostack:pipeline": origin.partition.pipeline,
        "geostack:aoi": origin.partition.aoi,
        "geostack:product": origin.product,
        "geostack:window": [str(origin.partition.window.start), str(origin.partition.window.end)],
        "geostack:fingerprint": origin.fingerprint,
        "geostack:sources": sorted(item_id(source) for source in origin.sources),
        **{f"geostack:{name}": value for name, value in origin.facts.items()},
    }
    if not origin.lineage:
        del found["processing:lineage"]
    return found


def _interval(origin: Origin) -> tuple[datetime, datetime]:
    """First and last acquisition, or the window itself where the sources are not known."""
    moments = sorted(moment(source) for source in origin.sources)
    if moments:
        return moments[0], moments[-1]
    start, end = origin.partition.window.utc(origin.aoi.centre[0])
    return start, end


def _band(name: str, text: BandText, report: CogReport) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "unit": text.unit}
    if text.long_name:
        found["description"] = text.long_name
    return found | {"statistics": report.statistics[name].to_json()}


def _check_valid(document: dict[str, Any]) -> None:
    # Core only: the schemas of extensions are not shipped with pystac and would be fetched.
    try:
        JsonSchemaSTACValidator().validate_core(document, STACObjectType.ITEM, _STAC_VERSION)
    except STACValidationError as error:
        raise IntegrityError(f"Item {document['id']} is not valid STAC: {error}") from error


def _lasting(document: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encoded(document))
    for name in _VOLATILE:
        found.get("properties", {}).pop(name, None)
    return found


def _texts(value: object, place: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(place, value)]
    if isinstance(value, Mapping):
        entries = [(f"{place}.{key}".lstrip("."), member) for key, member in value.items()]
    elif isinstance(value, list | tuple):
        entries = [(f"{place}[{number}]", member) for number, member in enumerate(value)]
    else:
        return []
    return [found for name, member in entries for found in _texts(member, name)]
