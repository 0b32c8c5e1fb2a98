"""CMR granules (UMM-G metadata) as STAC Items: what they state, in the places STAC has for it.

Lenient: what is absent or unreadable is left out, and the search then rejects the Item by name
and reason if it cannot be placed in time or space. UMM-G, versions 1.6.3 to 1.6.6.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from geostack_dagster.catalog.rings import footprint
from geostack_dagster.domain.hrefs import basename
from geostack_dagster.domain.item import is_finite, number, parse_datetime
from geostack_dagster.providers.provider import Provider

type Umm = Mapping[str, Any]

_ROLES = {
    "GET DATA": "data",
    "GET DATA VIA DIRECT ACCESS": "data",
    "GET RELATED VISUALIZATION": "thumbnail",
    "EXTENDED METADATA": "metadata",
}
# STAC states checksums as multihash: code of the algorithm, length, digest.
_MULTIHASH = {"MD5": "d50110", "SHA-1": "1114", "SHA-256": "1220", "SHA-512": "1340"}
_MEDIA = {
    ".nc": "application/x-netcdf",
    ".h5": "application/x-hdf5",
    ".hdf": "application/x-hdf",
    ".tif": "image/tiff; application=geotiff",
    ".json": "application/json",
    ".xml": "application/xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}
_NOT_PROVIDED = "not provided"


def item_of(
    granule: object, provider: Provider, *, asked: Sequence[str], root: str
) -> dict[str, Any]:
    """A granule, as `granules.umm_json` lists it, as an Item; never raises.

    The id is the GranuleUR. Assets are keyed by file name, with the https address as href and the
    S3 one as `alternate.s3`.

    Args:
        granule: `{"meta": ..., "umm": ...}`.
        provider: Whose collection ids are used.
        asked: Collections that were asked for.
        root: Address of the CMR search, for links.
    """
    meta, umm = _member(granule, "meta"), _member(granule, "umm")
    concept = _text(meta.get("concept-id"))
    geometry, bbox = footprint(
        _member(_member(_member(umm, "SpatialExtent"), "HorizontalSpatialDomain"), "Geometry")
    )
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": _text(umm.get("GranuleUR")) or _text(meta.get("native-id")) or concept or "",
        "collection": collection_of(meta, umm, provider, asked),
        "geometry": geometry,
        **({} if bbox is None else {"bbox": bbox}),
        "properties": _properties(meta, umm),
        "assets": _assets(umm),
        "links": [] if concept is None else [_link(root, concept, ".umm_json", "via")],
    }


def collection_of(meta: Umm, umm: Umm, provider: Provider, asked: Sequence[str]) -> str | None:
    """The collection of a granule, by the name it was asked for by where that is the same one.

    Granules state CMR's concept id, a short name and a version, or an EntryTitle alone, which is
    prose; one that states nothing is of the only collection asked for.
    """
    reference = _member(umm, "CollectionReference")
    short_name, version = _text(reference.get("ShortName")), _text(reference.get("Version"))
    name = f"{short_name}_{version}" if short_name and version else None
    stated = [one for one in (_text(meta.get("collection-concept-id")), name) if one is not None]
    known = [found for one in stated if (found := provider.find_collection(one)) is not None]
    for one in asked:
        if one in stated or (known and provider.find_collection(one) in known):
            return one
    if not stated:
        return asked[0] if len(asked) == 1 else None
    return known[0].id if known else stated[-1]


def _properties(meta: Umm, umm: Umm) -> dict[str, Any]:
    start, end = _times(_member(umm, "TemporalExtent"))
    attributes = dict(_attributes(umm))
    zenith, azimuth = number(attributes.get("SOLAR_ZENITH")), attributes.get("SOLAR_AZIMUTH")
    found = {
        "datetime": start,
        "start_datetime": start,
        "end_datetime": end or start,
        "created": _dated(umm, "Insert", "Create"),
        "updated": _text(meta.get("revision-date")) or _dated(umm, "Update"),
        "processing:datetime": _text(_member(umm, "DataGranule").get("ProductionDateTime")),
        "eo:cloud_cover": _percent(umm.get("CloudCover")),
        "view:sun_elevation": None if zenith is None else 90.0 - zenith,
        "view:sun_azimuth": number(azimuth),
        "platform": _platform(umm),
        "cmr:concept_id": _text(meta.get("concept-id")),
        "cmr:revision_id": meta.get("revision-id"),
    }
    # A datetime that is absent is a null one in STAC; all the rest is left out.
    return {name: value for name, value in found.items() if value is not None or name == "datetime"}


def _times(extent: Umm) -> tuple[str | None, str | None]:
    """Beginning and end; a granule may state a range or one moment."""
    single, span = extent.get("SingleDateTime"), _member(extent, "RangeDateTime")
    start, end = span.get("BeginningDateTime") or single, span.get("EndingDateTime")
    return _moment(start), _moment(end)


def _moment(value: object) -> str | None:
    return str(value) if parse_datetime(value) is not None else None


def _dated(umm: Umm, *kinds: str) -> str | None:
    found = {_text(one.get("Type")): one.get("Date") for one in _members(umm, "ProviderDates")}
    return next((moment for kind in kinds if (moment := _moment(found.get(kind)))), None)


def _attributes(umm: Umm) -> Iterator[tuple[str, Any]]:
    for one in _members(umm, "AdditionalAttributes"):
        name, values = _text(one.get("Name")), one.get("Values")
        if name is not None and isinstance(values, list) and values:
            yield name, values[0]


def _platform(umm: Umm) -> str | None:
    names = (_text(one.get("ShortName")) for one in _members(umm, "Platforms"))
    return next((name.lower() for name in names if name is not None), None)


def _percent(value: object) -> float | None:
    return number(value) if is_finite(value) else None


def _assets(umm: Umm) -> dict[str, dict[str, Any]]:
    assets: dict[str, dict[str, Any]] = {}
    for link in _members(umm, "RelatedUrls"):
        href, role = _text(link.get("URL")), _ROLES.get(str(link.get("Type")).upper())
        if href is None or role is None or not _is_file(href):
            continue
        asset = assets.setdefault(basename(href), {"href": href, "roles": [role]})
        _add_address(asset, href)
    facts = _file_facts(umm, [key for key, asset in assets.items() if asset["roles"] == ["data"]])
    for key, asset in assets.items():
        media = _MEDIA.get(PurePosixPath(key.lower()).suffix)
        asset |= {**({} if media is None else {"type": media}), **facts.get(key, {})}
    return assets


def _add_address(asset: dict[str, Any], href: str) -> None:
    """The https address is the asset's; the S3 one stands beside it, whichever came first."""
    if href == asset["href"]:
        return
    kinds = _is_s3(asset["href"]), _is_s3(href)
    if kinds == (True, False):
        asset["alternate"] = {"s3": {"href": asset["href"]}}
        asset["href"] = href
    elif kinds == (False, True):
        asset.setdefault("alternate", {"s3": {"href": href}})


def _file_facts(umm: Umm, data: list[str]) -> dict[str, dict[str, Any]]:
    """Size and checksum of each file, by name; the name may be "Not provided"."""
    told = list(
        _archived(_members(_member(umm, "DataGranule"), "ArchiveAndDistributionInformation"))
    )
    found: dict[str, dict[str, Any]] = {}
    for entry in told:
        name = _text(entry.get("Name")) or _NOT_PROVIDED
        if name.lower() == _NOT_PROVIDED and len(told) == 1 and len(data) == 1:
            name = data[0]
        found[name] = {
            **_known("file:size", _whole(entry.get("SizeInBytes"))),
            **_known("file:checksum", _checksum(_member(entry, "Checksum"))),
        }
    return found


def _archived(entries: Iterator[Umm]) -> Iterator[Umm]:
    """Files, also those inside a package."""
    for entry in entries:
        yield entry
        yield from _archived(_members(entry, "Files"))


def _checksum(stated: Umm) -> str | None:
    prefix = _MULTIHASH.get(str(stated.get("Algorithm")).upper())
    digest = _text(stated.get("Value"))
    return None if prefix is None or digest is None else prefix + digest.lower()


def _whole(value: object) -> int | None:
    found = number(value) if is_finite(value) else None
    return None if found is None or found < 0 else int(found)


def _known(name: str, value: object) -> dict[str, Any]:
    return {} if value is None else {name: value}


def _is_file(href: str) -> bool:
    """Whether it is the address of a file: a host and a path, over https or S3."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return False
    return parts.scheme in ("https", "http", "s3") and bool(parts.netloc and basename(href))


def _is_s3(href: str) -> bool:
    return href.startswith("s3://")


def _link(root: str, concept: str, suffix: str, relation: str) -> dict[str, str]:
    return {
        "rel": relation,
        "href": f"{root.rstrip('/')}/concepts/{concept}{suffix}",
        "type": "application/vnd.nasa.cmr.umm+json",
    }


def _member(holder: object, name: str) -> Umm:
    found = holder.get(name) if isinstance(holder, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _members(holder: Umm, name: str) -> Iterator[Umm]:
    found = holder.get(name)
    return (
        (one for one in found if isinstance(one, Mapping)) if isinstance(found, list) else iter(())
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
