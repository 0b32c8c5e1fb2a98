"""Sentinel-2 Items as the Copernicus Data Space writes them since 2026, Level-2A and Level-1C.

Level-1C was never recorded: it has the form of Level-2A, the files of a Level-1C product, and no
scene classes. Checksums are of names, not of bytes: those are computed when they are read.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox import noise
from geostack_dagster.sandbox.acquisition import Acquisition, Processing, stamp
from geostack_dagster.sandbox.cdse_layers import IMAGES, Image
from geostack_dagster.sandbox.cog import RasterSpec
from geostack_dagster.sandbox.jp2 import VirtualJp2
from geostack_dagster.sandbox.pixels import layer_of
from geostack_dagster.sandbox.places import CDSE_HOST, EODATA, QUICKLOOK_HOST
from geostack_dagster.sandbox.world import World

_API = "https://stac.dataspace.copernicus.eu/v1"
_JSON = "application/json"
_IDENTITY = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE"
_S3: dict[str, Any] = {"auth:refs": ["s3"], "storage:refs": ["cdse-s3", "creodias-s3"]}
_EXTENSIONS = (
    "https://cs-si.github.io/eopf-stac-extension/v1.2.0/schema.json",
    *(
        f"https://stac-extensions.github.io/{name}/schema.json"
        for name in (
            "alternate-assets/v1.2.0",
            "authentication/v1.1.0",
            "classification/v2.0.0",
            "eo/v2.0.0",
            "file/v2.1.0",
            "grid/v1.1.0",
            "processing/v1.2.0",
            "product/v1.0.0",
            "projection/v2.0.0",
            "raster/v2.0.0",
            "sat/v1.1.0",
            "storage/v2.0.0",
            "timestamps/v1.1.0",
            "view/v1.1.0",
        )
    ),
)
_STORES = {
    "cdse-s3": {
        "type": "custom-s3",
        "class": "hot",
        "title": "Copernicus Data Space Ecosystem S3",
        "platform": "https://eodata.dataspace.copernicus.eu",
        "description": "Object storage of the Copernicus Data Space, with keys of one's own",
        "requester_pays": False,
    },
    "creodias-s3": {
        "type": "custom-s3",
        "class": "hot",
        "title": "CREODIAS S3",
        "platform": "https://eodata.cloudferro.com",
        "description": "The same archive as a commercial service without quotas",
        "requester_pays": True,
    },
}
_DESIGNATORS = {"S2A": "2015-028A", "S2B": "2017-013A"}
# Our name of a share, and the value and name of its class.
_CLASSES = (
    ("nodata", 0, "no_data"),
    ("saturated_defective", 1, "saturated_or_defective"),
    ("dark_area", 2, "dark_area_pixels"),
    ("cloud_shadow", 3, "cloud_shadows"),
    ("vegetation", 4, "vegetation"),
    ("not_vegetated", 5, "not_vegetated"),
    ("water", 6, "water"),
    ("unclassified", 7, "unclassified"),
    ("medium_proba_clouds", 8, "cloud_medium_probability"),
    ("high_proba_clouds", 9, "cloud_high_probability"),
    ("thin_cirrus", 10, "thin_cirrus"),
    ("snow", 11, "snow"),
)
_RENAMED = {
    "nodata": "nodata_pixel",
    "saturated_defective": "saturated_defective_pixel",
    "dark_area": "dark_features",
    "snow": "snow_ice",
}
_METADATA = {
    "safe_manifest": "manifest.safe",
    "granule_metadata": "{granule}/MTD_TL.xml",
    "inspire_metadata": "INSPIRE.xml",
    "product_metadata": "MTD_MSI{level}.xml",
    "datastrip_metadata": "DATASTRIP/{datastrip}/MTD_DS.xml",
}


def cdse_l2a_item(acquisition: Acquisition, processing: Processing, world: World) -> Item:
    """The Level-2A Item of one processing of one acquisition."""
    return _Product(acquisition, processing, "L2A").item(world)


def cdse_l1c_item(acquisition: Acquisition, processing: Processing, world: World) -> Item:
    """The Level-1C Item of one processing of one acquisition."""
    return _Product(acquisition, processing, "L1C").item(world)


@dataclass(frozen=True)
class _Product:
    """One SAFE product."""

    acquisition: Acquisition
    processing: Processing
    level: str

    @cached_property
    def name(self) -> str:
        return self.acquisition.product(self.processing, self.level)

    @property
    def collection(self) -> str:
        return f"sentinel-2-{self.level.lower()}"

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.name))

    @property
    def folder(self) -> str:
        """Key of the product in the bucket."""
        return f"Sentinel-2/MSI/{self.level}/{self.acquisition.day:%Y/%m/%d}/{self.name}.SAFE"

    @property
    def datastrip(self) -> str:
        made, platform = self.acquisition.generated(self.processing), self.acquisition.platform
        return f"DS_2{platform[-1]}PS_{stamp(made)}_S{stamp(self.acquisition.datastrip)}"

    @property
    def granule(self) -> str:
        acquisition = self.acquisition
        return (
            f"GRANULE/{self.level}_T{acquisition.tile.name}_A{acquisition.orbit:06d}_"
            f"{stamp(acquisition.datastrip)}"
        )

    def item(self, world: World) -> Item:
        """The whole Item."""
        shares = self._shares(world)
        item = {
            "id": self.name,
            "bbox": self.acquisition.bbox(),
            "type": "Feature",
            "links": self._links(),
            "assets": self._assets(shares),
            "geometry": self.acquisition.geometry(),
            "collection": self.collection,
            "properties": self._properties(shares),
            "stac_extensions": list(_EXTENSIONS),
            "stac_version": "1.1.0",
        }
        if self.acquisition.cut:
            _state_sizes(item, world)
        return item

    def _shares(self, world: World) -> dict[str, float]:
        """Percentages of scene classes, and cloud cover as `cloud`."""
        stated = self.acquisition.statistics(world)
        shares = {
            name: stated[f"s2:{_RENAMED.get(name, name)}_percentage"] for name, _, _ in _CLASSES
        }
        return shares | {"cloud": round(stated["eo:cloud_cover"], 2)}

    def _properties(self, shares: Mapping[str, float]) -> dict[str, Any]:
        acquisition, baseline = self.acquisition, self.processing.baseline
        zenith, azimuth = acquisition.sun
        made = acquisition.generated(self.processing)
        filed = made + timedelta(minutes=57, seconds=50)
        published = _exact(filed + timedelta(minutes=6, seconds=8, microseconds=645127))
        sensed = _exact(acquisition.datatake + timedelta(milliseconds=25))
        datatake = f"G{acquisition.platform}_{stamp(acquisition.datatake)}"
        classes: dict[str, Any] = {"statistics": {"nodata": shares["nodata"]}}
        if self.level == "L2A":
            classes = _statistics(shares)
        return {
            "gsd": 10,
            "created": _exact(filed),
            "expires": "2262-01-01T00:00:00.000000Z",
            "updated": published,
            "_private": {
                "visible": True,
                "product_name": f"{self.name}.SAFE",
                "product_size": 1_186_241_276,
                "product_uuid": self.uuid,
            },
            "datetime": sensed,
            "platform": f"sentinel-2{acquisition.platform[-1].lower()}",
            "grid:code": f"MGRS-{acquisition.tile.name}",
            "published": published,
            **classes,
            "instruments": ["msi"],
            "auth:schemes": {
                "s3": {"type": "s3"},
                "oidc": {
                    "type": "openIdConnect",
                    "openIdConnectUrl": f"{_IDENTITY}/.well-known/openid-configuration",
                },
            },
            "end_datetime": sensed,
            "product:type": f"S2MSI{self.level[1:]}",
            "view:azimuth": self._view("azimuth", 90, 290),
            "constellation": "sentinel-2",
            "eo:cloud_cover": shares["cloud"],
            "start_datetime": sensed,
            "sat:orbit_state": "descending",
            "storage:schemes": _STORES,
            "eopf:datatake_id": f"{datatake}_{acquisition.orbit:06d}_N{baseline}",
            "processing:level": self.level[:2],
            "view:sun_azimuth": round(azimuth, 12),
            "eopf:datastrip_id": (
                f"{acquisition.platform}_OPER_MSI_{self.level}_{self.datastrip}_N{baseline}"
            ),
            "processing:version": baseline,
            "product:timeliness": "PT24H",
            "sat:absolute_orbit": acquisition.orbit,
            "sat:relative_orbit": acquisition.tile.relative_orbit,
            "view:sun_elevation": round(90 - zenith, 12),
            "processing:datetime": _exact(made),
            "processing:facility": "ESA",
            "processing:software": {"eometadatatool": "260327122600+dirty"},
            "eopf:instrument_mode": "INS-NOBS",
            "eopf:origin_datetime": _exact(filed),
            "view:incidence_angle": self._view("incidence", 2, 10),
            "product:timeliness_category": "NRT",
            "sat:platform_international_designator": _DESIGNATORS[acquisition.platform],
        }

    def _links(self) -> list[dict[str, Any]]:
        collection = f"{_API}/collections/{self.collection}"
        return [
            {"rel": "collection", "type": _JSON, "href": collection},
            {"rel": "parent", "type": _JSON, "href": collection},
            {"rel": "root", "type": _JSON, "href": f"{_API}/"},
            {
                "rel": "self",
                "type": "application/geo+json",
                "href": f"{collection}/items/{self.name}",
            },
            {
                "rel": "enclosure",
                "href": f"s3://{EODATA}/{self.folder}/",
                "type": "application/x-directory",
                "title": "S3 path to source directory",
                **_S3,
            },
            {
                "rel": "version-history",
                "href": "https://trace.dataspace.copernicus.eu/api/v1/traces/name/"
                f"{self.name}.SAFE.zip",
                "type": _JSON,
                "title": "Product history record from the CDSE traceability service",
            },
        ]

    def _assets(self, shares: Mapping[str, float]) -> dict[str, Any]:
        assets = {image.key: self._image(image, shares) for image in IMAGES[self.level]}
        for key, path in _METADATA.items():
            file = path.format(granule=self.granule, datastrip=self.datastrip, level=self.level)
            assets[key] = {
                **self._file(file),
                "file:size": 68_907,
                "type": "application/xml",
                "roles": ["metadata"],
                "title": file.rpartition("/")[2],
            }
        picture = self._file(f"{self.name}-ql.jpg")
        assets["thumbnail"] = {
            "href": f"https://{QUICKLOOK_HOST}/odata/v1/Assets({self._uuid_of('quicklook')})/$value",
            "type": "image/jpeg",
            "roles": ["thumbnail", "overview"],
            "title": "Quicklook",
            "alternate": {"s3": {"href": picture["href"], **_S3, "alternate:name": "S3"}},
            "file:size": 42_901,
            "file:checksum": picture["file:checksum"],
            "file:local_path": picture["file:local_path"],
            "data_type": "uint8",
            "proj:code": None,
            "proj:shape": [343, 343],
            "alternate:name": "HTTPS",
        }
        assets["Product"] = {
            "href": f"https://{CDSE_HOST}/odata/v1/Products({self.uuid})/$value",
            "type": "application/zip",
            "roles": ["data", "metadata", "archive"],
            "title": "Zipped product",
            "auth:refs": ["oidc"],
            "file:size": 1_186_276_262,
            "file:checksum": _checksum(f"{self.name}.SAFE.zip"),
            "file:local_path": f"{self.name}.SAFE.zip",
        }
        return assets

    def _image(self, image: Image, shares: Mapping[str, float]) -> dict[str, Any]:
        acquisition, pixel = self.acquisition, image.pixel_m
        left, top = (round(value) for value in acquisition.tile.origin)
        prefix = f"T{acquisition.tile.name}_{stamp(acquisition.datatake)}"
        asset = {
            **self._file(f"{self.granule}/{image.file.format(prefix)}"),
            **image.described(),
            "file:size": self._full_size(image),
            "proj:bbox": [round(value) for value in acquisition.tile.bbox_m],
            "proj:code": f"EPSG:{acquisition.tile.epsg}",
            "proj:transform": [pixel, 0, left, 0, -pixel, top],
        }
        if image.is_band:
            asset["view:azimuth"] = self._view(f"azimuth {image.name}", 90, 290)
            asset["view:incidence_angle"] = self._view(f"incidence {image.name}", 2, 10)
        if image.name == "SCL":
            asset["classification:classes"] = [
                {"name": name, "value": value}
                | ({"percentage": shares[share]} if image.sampling == "original" else {})
                | ({"nodata": True} if value == 0 else {})
                for share, value, name in _CLASSES
            ]
        return asset

    def _full_size(self, image: Image) -> int:
        tile, described = self.acquisition.tile, image.described()
        rows, columns = described["proj:shape"]
        return _whole(
            RasterSpec(
                epsg=tile.epsg,
                geographic=False,
                origin=tile.origin,
                pixel=(float(image.pixel_m), float(image.pixel_m)),
                shape=(rows, columns),
                dtype=described["data_type"],
                samples=3 if image.name == "TCI" else 1,
            )
        )

    def _file(self, path: str) -> dict[str, Any]:
        """Members of an asset that lies in the product: in the bucket, and behind the login."""
        nodes = "/".join(f"Nodes({part})" for part in (f"{self.name}.SAFE", *path.split("/")))
        return {
            "href": f"s3://{EODATA}/{self.folder}/{path}",
            "alternate": {
                "https": {
                    "href": f"https://{CDSE_HOST}/odata/v1/Products({self.uuid})/{nodes}/$value",
                    "auth:refs": ["oidc"],
                    "storage:refs": [],
                    "alternate:name": "HTTPS",
                }
            },
            **_S3,
            "alternate:name": "S3",
            "file:checksum": _checksum(f"{self.name}/{path}"),
            "file:local_path": f"{self.name}.SAFE/{path}",
        }

    def _view(self, what: str, low: float, high: float) -> float:
        share = noise.unit_of(what, self.acquisition.tile.name, self.acquisition.day)
        return round(low + (high - low) * share, 12)

    def _uuid_of(self, what: str) -> str:
        return str(uuid.uuid5(uuid.UUID(self.uuid), what))


def _statistics(shares: Mapping[str, float]) -> dict[str, Any]:
    named = {name: shares[name] for name, _, _ in _CLASSES if name != "snow"}
    return {"statistics": named, "eo:snow_cover": shares["snow"]}


def _state_sizes(item: dict[str, Any], world: World) -> None:
    """Set `file:size` of the images to what it is where tiles without data are left out."""
    for key, asset in item["assets"].items():
        if asset["type"] == "image/jp2":
            layer = layer_of(item, key, world)
            asset["file:size"] = VirtualJp2(layer.spec, layer.is_empty).size


@lru_cache(maxsize=64)
def _whole(spec: RasterSpec) -> int:
    """Bytes of a file all of whose tiles hold data."""
    return VirtualJp2(spec, lambda window: False).size


def _checksum(name: str) -> str:
    """A multihash: SHA3-256."""
    return f"1620{hashlib.sha3_256(name.encode()).hexdigest()}"


def _exact(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
