"""Where assets lie in the stores: one address for each object, however many hrefs lead to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from geostack_dagster.domain.hrefs import locate
from geostack_dagster.domain.item import Asset
from geostack_dagster.sandbox import s3
from geostack_dagster.sandbox.blob import HOST_SUFFIX

EODATA = "eodata"
LP_PROTECTED, LP_PUBLIC = "lp-prod-protected", "lp-prod-public"
DLR_HOST = "download.geoservice.dlr.de"
CDSE_HOST = "download.dataspace.copernicus.eu"
QUICKLOOK_HOST = "datahub.creodias.eu"

_BUCKETS = s3.BUCKETS.keys() | {EODATA, LP_PROTECTED, LP_PUBLIC}
_FILE_HOSTS = {
    DLR_HOST: DLR_HOST,
    CDSE_HOST: CDSE_HOST,
    "zipper.dataspace.copernicus.eu": CDSE_HOST,  # its name before 2026
    QUICKLOOK_HOST: QUICKLOOK_HOST,
}
"""Hosts that serve files by their plain address, and the container that each is a name of."""
_BUCKET_GATES = frozenset({"data.lpdaac.earthdatacloud.nasa.gov", "lpdaac.earthdata.nasa.gov"})
"""Hosts that serve buckets over https: the first path segment is the bucket."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object lies: store `blob`, `s3` or `https`, container, key."""

    store: str
    container: str
    """`account/container`, bucket, or host."""
    key: str


def place_of(asset: Asset) -> Place | None:
    """Where an asset lies; None when it is a folder, or not on a store that has a twin."""
    where = locate(str(asset.get("href")))
    if where.key.endswith("/"):
        return None
    if where.scheme == "s3":
        return Place("s3", where.host, where.key) if where.host in _BUCKETS else None
    return _by_host(where.host, where.key) if where.scheme == "https" else None


def _by_host(host: str, key: str) -> Place | None:
    first, _, rest = key.partition("/")
    if host.endswith(HOST_SUFFIX):
        return Place("blob", f"{host.removesuffix(HOST_SUFFIX)}/{first}", rest)
    if host in _FILE_HOSTS:
        return Place("https", _FILE_HOSTS[host], key)
    amazon = s3.HOST.fullmatch(host)
    if amazon is not None and amazon["bucket"] is not None:
        first, rest = amazon["bucket"], key
    is_store = amazon is not None or host in _BUCKET_GATES
    return Place("s3", first, rest) if is_store and first in _BUCKETS else None


def places_of(asset: Asset) -> Iterator[Place]:
    """Where an asset and its `alternate` forms lie."""
    alternates = asset.get("alternate")
    others = alternates.values() if isinstance(alternates, Mapping) else ()
    for holder in (asset, *others):
        place = place_of(holder) if isinstance(holder, Mapping) else None
        if place is not None:
            yield place
