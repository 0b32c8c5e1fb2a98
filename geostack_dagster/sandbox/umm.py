"""UMM-G documents: what CMR says of a granule, written from the Item that an archive holds.

After recorded documents of EMIT granules (UMM-G 1.6.6). Sizes are stated for images and tables, not
for what is drawn when somebody looks at it; checksums are not, as no file exists as a whole.
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import shapely
from shapely.geometry.polygon import orient

from geostack_dagster.domain.hrefs import basename, locate
from geostack_dagster.domain.item import Asset, Item, assets, item_id, properties
from geostack_dagster.sandbox.emit_scenes import GRANULES, Granule
from geostack_dagster.sandbox.objects import Document, Vault
from geostack_dagster.sandbox.places import place_of

PROVIDER = "LPCLOUD"
GATE = "https://data.lpdaac.earthdatacloud.nasa.gov"
VERSION = "1.6.6"
_OPENDAP = "https://opendap.earthdata.nasa.gov/collections"
_DIRECT = "This link provides direct download access via S3 to the granule"
_KEYS = "api endpoint to retrieve temporary credentials valid for same-region direct s3 access"
_PICTURES = (".png", ".jpg", ".jpeg")
_FORMATS = {"nc": "NETCDF-4", "tif": "Cloud Optimized GeoTIFF (COG)"}
_BUILD = "010624"
_NAME = re.compile(
    r"EMIT_(?P<product>\w+?)_(?P<version>\d{3})_(?P<moment>\d{8}T\d{6})_(?P<rest>\w+)"
)
_GRANULES: Mapping[str, Granule] = {f"{one.start:%Y%m%dT%H%M%S}": one for one in GRANULES}

type Json = dict[str, Any]


def granule_id(name: str) -> str:
    """CMR's concept id of a granule, by its name."""
    return f"G{3_000_000_000 + zlib.crc32(name.encode()) % 900_000_000}-{PROVIDER}"


def meta_of(item: Item, collection: str) -> Json:
    """What CMR itself says; `collection` is a concept id."""
    stated, name = properties(item), item_id(item)
    return {
        "concept-type": "granule",
        "concept-id": granule_id(name),
        "revision-id": int(str(stated.get("version", 1))),
        "native-id": name,
        "collection-concept-id": collection,
        "provider-id": PROVIDER,
        "format": "application/vnd.nasa.cmr.umm+json",
        "revision-date": _millis(updated_of(item)),
    }


def updated_of(item: Item) -> str:
    """When the archive published a granule; CMR-STAC's Items do not say, their names lead to it."""
    stated, parts = properties(item).get("updated"), _NAME.fullmatch(item_id(item))
    granule = None if parts is None else _GRANULES.get(parts["moment"])
    if stated is not None or granule is None:
        return str(stated or properties(item).get("datetime"))
    return f"{granule.published:%Y-%m-%dT%H:%M:%SZ}"


def umm_of(item: Item, collection: str, vault: Vault) -> Json:
    """What the archive says of a granule."""
    stated, name = properties(item), item_id(item)
    short_name, _, version = str(item["collection"]).rpartition("_")
    cover = stated.get("eo:cloud_cover")
    return {
        "TemporalExtent": {
            "RangeDateTime": {
                "BeginningDateTime": _millis(stated["start_datetime"]),
                "EndingDateTime": _millis(stated["end_datetime"]),
            }
        },
        "GranuleUR": name,
        "AdditionalAttributes": [
            {"Name": label, "Values": [value]} for label, value in _attributes(name)
        ],
        "SpatialExtent": {"HorizontalSpatialDomain": {"Geometry": _polygons(item)}},
        "ProviderDates": [{"Date": updated_of(item), "Type": "Update"}],
        "CollectionReference": {"ShortName": short_name, "Version": version},
        "PGEVersionClass": {"PGEName": "emit-sds", "PGEVersion": "v1.6.24"},
        "RelatedUrls": list(_links(item, collection)),
        **({} if cover is None else {"CloudCover": cover}),
        "DataGranule": {
            "DayNightFlag": "Day",
            "ArchiveAndDistributionInformation": list(_files(item, vault)),
            "ProductionDateTime": updated_of(item),
        },
        "Platforms": [
            {"ShortName": "ISS", "Instruments": [{"ShortName": "EMIT Imaging Spectrometer"}]}
        ],
        "MetadataSpecification": {
            "URL": f"https://cdn.earthdata.nasa.gov/umm/granule/v{VERSION}",
            "Name": "UMM-G",
            "Version": VERSION,
        },
    }


def _attributes(name: str) -> Iterator[tuple[str, str]]:
    """Orbit, scene and sun, which a granule's name leads to; plumes name their scene and number."""
    yield "SOFTWARE_BUILD_VERSION", _BUILD
    yield "Identifier_product_doi_authority", "https://doi.org"
    parts = _NAME.fullmatch(name)
    granule = None if parts is None else _GRANULES.get(parts["moment"])
    if parts is None or granule is None:
        return
    if parts["product"] == "L2B_CH4PLM":
        yield "SOURCE_SCENES", granule.name("L2B_CH4ENH", parts["version"])
        yield "PLUME_ID", parts["rest"]
        return
    zenith, azimuth = granule.sun
    yield "ORBIT", granule.orbit
    yield "SCENE", str(int(granule.scene))
    yield "SOLAR_ZENITH", f"{zenith:.2f}"
    yield "SOLAR_AZIMUTH", f"{azimuth:.2f}"


def _polygons(item: Item) -> Json:
    """Outer rings, counter-clockwise as CMR wants them."""
    shape = shapely.geometry.shape(item["geometry"])
    parts = [part for part in shapely.get_parts(shape) if isinstance(part, shapely.Polygon)]
    return {
        "GPolygons": [
            {
                "Boundary": {
                    "Points": [
                        {"Longitude": x, "Latitude": y} for x, y in orient(part).exterior.coords
                    ]
                }
            }
            for part in parts
        ]
    }


def _links(item: Item, collection: str) -> Iterator[Json]:
    name = item_id(item)
    yield {
        "URL": f"{_OPENDAP}/{collection}/granules/{name}",
        "Type": "USE SERVICE API",
        "Subtype": "OPENDAP DATA",
        "Description": "OPeNDAP request URL",
    }
    for href in _hrefs(item):
        file, key = basename(href), locate(href).key
        kind, direct = _kinds(file)
        yield {"URL": href, "Description": f"Download {file}", "Type": kind}
        yield {"URL": f"s3://{key}", "Description": _DIRECT, "Type": direct}
    keys = f"{GATE}/s3credentials"
    yield {"URL": keys, "Description": _KEYS, "Type": "VIEW RELATED INFORMATION"}


def _kinds(file: str) -> tuple[str, str]:
    """Types of a file's two links: over https, and directly."""
    if file.endswith(_PICTURES):
        return "GET RELATED VISUALIZATION", "GET RELATED VISUALIZATION"
    if file.endswith((".cmr.json", ".dmrpp", ".xml")):
        return "EXTENDED METADATA", "EXTENDED METADATA"
    return "GET DATA", "GET DATA VIA DIRECT ACCESS"


def _hrefs(item: Item) -> list[str]:
    """Https addresses of the granule's files at the gateway, each once."""
    found = (str(asset.get("href")) for asset in assets(item).values())
    return list(dict.fromkeys(href for href in found if href.startswith(f"{GATE}/")))


def _files(item: Item, vault: Vault) -> Iterator[Json]:
    for href in _hrefs(item):
        asset: Asset = {"href": href}
        place = place_of(asset)
        stored = None if place is None else vault.find(place.store, place.container, place.key)
        if stored is None or isinstance(stored, Document):
            continue
        name = basename(href)
        yield {
            "Name": name,
            "SizeInBytes": stored.size,
            "Format": _FORMATS[name.rpartition(".")[2]],
        }


def _millis(moment: object) -> str:
    """With milliseconds, as CMR writes times whatever it was given."""
    text = str(moment)
    return text if "." in text else text.replace("Z", ".000Z")
