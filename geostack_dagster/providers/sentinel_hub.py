"""Sentinel Hub on CDSE: a catalogue of scenes, and pixels rendered by its Process API.

Both ask for a token of an OAuth client. Items name a directory and no files; reflectance comes
harmonised (the -1000 offset subtracted by the service) on whatever grid is asked for.
"""

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.domain import identity, radiometry
from geostack_dagster.providers import sentinel2
from geostack_dagster.providers.provider import (
    Collection,
    FilterDialect,
    Limits,
    PixelSource,
    Provider,
)

# Every band comes from the service; the only asset of an Item is the scene's directory.
_DIRECTORY = ("data",)
_L2A = [name for name in sentinel2.L2A_BANDS if name != "WVP"]  # the service does not offer it


def _sentinel2(collection: str, title: str, bands: list[str]) -> Collection:
    return Collection(
        id=collection,
        title=title,
        bands=sentinel2.band_table(dict.fromkeys(bands, _DIRECTORY)),
        radiometry=radiometry.sentinel2_harmonised,
        identity=identity.sentinel2,
        clear=sentinel2.CLEAR if "SCL" in bands else None,
        dark=sentinel2.DARK if "SCL" in bands else sentinel2.DARK_L1C,
    )


SENTINEL_HUB = Provider(
    slug="sentinel_hub",
    title="Sentinel Hub (CDSE)",
    description=__doc__,
    stac_url="https://sh.dataspace.copernicus.eu/api/v1/catalog/1.0.0",
    search_scheme=AuthScheme.OAUTH2,
    filter_dialect=FilterDialect.CQL2_JSON,
    # Anything else is answered 400.
    filterable={"eo:cloud_cover": ("eq", "neq", "lt", "lte", "gt", "gte")},
    next_is_merged=True,
    pixels=PixelSource.PROCESS_API,
    collections={
        "sentinel-2-l2a": _sentinel2("sentinel-2-l2a", "Sentinel-2 Level-2A", _L2A),
        "sentinel-2-l1c": _sentinel2(
            "sentinel-2-l1c", "Sentinel-2 Level-1C", list(sentinel2.L1C_BANDS)
        ),
    },
    access=(
        ("https://sh.dataspace.copernicus.eu/*", AuthScheme.OAUTH2),
        ("https://services.sentinel-hub.com/*", AuthScheme.OAUTH2),
        ("s3://eodata/*", AuthScheme.S3_KEYS),
        ("s3://sentinel-s2-*/*", AuthScheme.REQUESTER_PAYS),
    ),
    marks=(
        "https://sh.dataspace.copernicus.eu/*",
        "https://services.sentinel-hub.com/*",
    ),
    region="eu-central-1",
    endpoints={
        "process": "https://sh.dataspace.copernicus.eu/api/v1/process",
        "s3": "https://eodata.dataspace.copernicus.eu",
        "token": "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/"
        "openid-connect/token",
    },
    # Quotas page: 300 requests and 300 processing units a minute, and a cap for the month. Process
    # API reference: 2500 pixels each way. Rate limiting page: Retry-After is in milliseconds.
    limits=Limits(
        page_limit=100,
        largest_page=100,
        concurrent_searches=4,
        concurrent_reads=4,
        rendered_px=2500,
        retry_after_unit_s=0.001,
    ),
    has_matched=False,
    quirks=(
        "no query extension and no sorting; CQL2 takes eo:cloud_cover alone, joined by `and`",
        "the next page is an integer in context.next, merged into the POST body",
        "ids end in .SAFE and geometries carry a crs member",
        "items of the older service (services.sentinel-hub.com) name no collection",
        "the one asset is a directory: bands exist only as the Process API renders them",
        "harmonised reflectance is clamped: what is below zero comes as zero",
        "Retry-After counts milliseconds",
    ),
)
