"""EMIT Items as CMR-STAC makes them of granules, after the conversion in nasa/cmr-stac.

Asset keys are the part of the address between its last two dots, so they hold slashes; media types,
projection and nodata are stated nowhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shapely
from shapely.geometry.polygon import orient

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox.emit_plumes import PlumeComplex
from geostack_dagster.sandbox.emit_scenes import Granule
from geostack_dagster.sandbox.places import LP_PROTECTED, LP_PUBLIC
from geostack_dagster.sandbox.umm import granule_id

_GATE = "https://data.lpdaac.earthdatacloud.nasa.gov"
_CMR = "https://cmr.earthdata.nasa.gov"
_STAC = f"{_CMR}/stac"
_PROVIDER = "LPCLOUD"
_JSON, _GEOJSON = "application/json", "application/geo+json"
_DIRECT = "This link provides direct download access via S3 to the granule"
_EO = "https://stac-extensions.github.io/eo/v1.0.0/schema.json"
_STORAGE = "https://stac-extensions.github.io/storage/v2.0.0/schema.json"


def radiance_item(granule: Granule) -> Item:
    """The Item of a granule in EMITL1BRAD_001."""
    names = [f"{granule.name(product, '001')}.nc" for product in ("L1B_RAD", "L1B_OBS")]
    return _Entry(
        collection="EMITL1BRAD_001",
        name=granule.name("L1B_RAD", "001"),
        files=names,
        times=(granule.start, granule.end),
        ring=granule.ring,
        cloud_cover=granule.cloud_cover,
    ).item()


def enhancement_item(granule: Granule) -> Item:
    """The Item of a granule in EMITL2BCH4ENH_002."""
    products = ("L2B_CH4ENH", "L2B_CH4UNCERT", "L2B_CH4SENS")
    return _Entry(
        collection="EMITL2BCH4ENH_002",
        name=granule.name("L2B_CH4ENH", "002"),
        files=[f"{granule.name(product, '002')}.tif" for product in products],
        times=(granule.start, granule.end),
        ring=granule.ring,
        cloud_cover=granule.cloud_cover,
    ).item()


def plume_item(plume: PlumeComplex) -> Item:
    """The Item of a plume complex in EMITL2BCH4PLM_002; CMR knows no cloud cover of it."""
    return _Entry(
        collection="EMITL2BCH4PLM_002",
        name=plume.name,
        files=[f"{plume.name}.tif", f"{plume.named('CH4PLMMETA')}.json"],
        times=(plume.granule.start, plume.granule.start),
        ring=plume.ring,
        cloud_cover=None,
    ).item()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What CMR knows of a granule."""

    collection: str
    name: str
    files: list[str]
    times: tuple[datetime, datetime]
    ring: Sequence[tuple[float, float]]
    cloud_cover: int | None

    @property
    def folder(self) -> str:
        """Key of the granule's files in a bucket."""
        return f"{self.collection.replace('_', '.')}/{self.name}"

    def item(self) -> Item:
        """The Item."""
        start, end = (f"{moment:%Y-%m-%dT%H:%M:%S}.000Z" for moment in self.times)
        has_cloud = self.cloud_cover is not None
        footprint = orient(shapely.Polygon(self.ring))
        return {
            "type": "Feature",
            "id": self.name,
            "stac_version": "1.1.0",
            "stac_extensions": [_EO, _STORAGE] if has_cloud else [_STORAGE],
            "properties": {
                "datetime": start,
                **({"eo:cloud_cover": self.cloud_cover} if has_cloud else {}),
                "storage:schemes": {
                    "aws": {
                        "type": "aws-s3",
                        "platform": "https://{bucket}.s3.{region}.amazonaws.com",
                        "bucket": LP_PROTECTED,
                        "region": "us-west-2",
                    }
                },
                "start_datetime": start,
                "end_datetime": end,
            },
            "geometry": {
                "type": "Polygon",
                "coordinates": [[list(vertex) for vertex in footprint.exterior.coords]],
            },
            "bbox": list(footprint.bounds),
            "assets": dict(self._assets()),
            "links": self._links(),
            "collection": self.collection,
        }

    def _assets(self) -> Iterator[tuple[str, dict[str, Any]]]:
        browse = f"{self.folder}/{self.name}.png"
        word = f"Download {self.name}.png"
        shown = {"href": f"{_GATE}/{LP_PUBLIC}/{browse}"}
        yield "browse", {**shown, "title": word, "type": "image/jpeg", "roles": ["browse"]}
        for number, (href, description) in enumerate(
            ((shown["href"], word), (f"s3://{LP_PUBLIC}/{browse}", _DIRECT))
        ):
            yield (
                f"thumbnail_{number}",
                {
                    "href": href,
                    "title": f"Thumbnail [{number}]",
                    "description": description,
                    "roles": ["thumbnail"],
                },
            )
        for number, file in enumerate(self.files):
            href = f"{_GATE}/{LP_PROTECTED}/{self.folder}/{file}"
            yield (
                _key(href),
                {
                    "href": href,
                    "title": f"Direct Download [{number}]",
                    "description": f"Download {file}",
                    "roles": ["data"],
                },
            )
        for number, file in enumerate(self.files):
            href = f"s3://{LP_PROTECTED}/{self.folder}/{file}"
            yield (
                f"s3_{_key(href)}",
                {
                    "href": href,
                    "title": f"S3 Direct Download [{number}]",
                    "description": _DIRECT,
                    "roles": ["data"],
                    "storage:refs": ["aws"],
                },
            )
        concept = granule_id(self.name)
        yield (
            "metadata",
            {
                "href": f"{_CMR}/search/concepts/{concept}.xml",
                "title": f"CMR XML metadata for {concept}",
                "type": "application/xml",
                "roles": ["metadata"],
            },
        )

    def _links(self) -> list[dict[str, str]]:
        collection = f"{_STAC}/{_PROVIDER}/collections/{self.collection}"
        concept = f"{_CMR}/search/concepts/{granule_id(self.name)}"
        return [
            {"rel": "self", "href": f"{collection}/items/{self.name}", "type": _GEOJSON},
            {"rel": "parent", "href": f"{collection}/", "type": _GEOJSON},
            {"rel": "collection", "href": f"{collection}/", "type": _GEOJSON},
            {"rel": "root", "href": _STAC, "type": _JSON},
            {"rel": "provider", "href": f"{_STAC}/{_PROVIDER}", "type": _JSON},
            {
                "rel": "via",
                "href": f"{concept}.json",
                "title": "CMR JSON metadata for item",
                "type": _JSON,
            },
            {
                "rel": "via",
                "href": f"{concept}.umm_json",
                "title": "CMR UMM_JSON metadata for item",
                "type": "application/vnd.nasa.cmr.umm+json",
            },
        ]


def _key(href: str) -> str:
    """The second-to-last part of an address cut at its dots."""
    return href.split(".")[-2]
