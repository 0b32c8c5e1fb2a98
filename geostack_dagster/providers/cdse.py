"""Copernicus Data Space Ecosystem: original SAFE products (JP2) on S3, read with CDSE's own keys.

Search needs no account. Pixels lie at a path-style S3 endpoint; the same files are offered over
https behind a login. All scenes before 2022 have been reprocessed (baseline 05.00), so all have
the -1000 offset, and say so.
"""

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.domain import identity, radiometry
from geostack_dagster.providers import sentinel2
from geostack_dagster.providers.provider import Collection, FilterDialect, Limits, Provider

# Bands are offered at several pixel sizes: the native one first, then resampled ones.
_SIZES = {10: ("10m", "20m", "60m"), 20: ("20m", "60m", "10m"), 60: ("60m", "20m", "10m")}


def _l2a_keys() -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(f"{name}_{size}" for size in _SIZES[round(sentinel2.NATIVE_M[name])])
        for name in sentinel2.L2A_BANDS
    }


# Level-1C has one pixel size for each band and no suffix; not recorded, as the products are named.
_L1C_KEYS = {name: (name,) for name in sentinel2.L1C_BANDS}

CDSE = Provider(
    slug="cdse",
    title="Copernicus Data Space Ecosystem",
    description=__doc__,
    stac_url="https://stac.dataspace.copernicus.eu/v1",
    filter_dialect=FilterDialect.CQL2_JSON,
    collections={
        "sentinel-2-l2a": Collection(
            id="sentinel-2-l2a",
            title="Sentinel-2 Level-2A",
            bands=sentinel2.band_table(_l2a_keys()),
            radiometry=radiometry.sentinel2,
            identity=identity.sentinel2,
            clear=sentinel2.CLEAR,
            dark=sentinel2.DARK,
        ),
        "sentinel-2-l1c": Collection(
            id="sentinel-2-l1c",
            title="Sentinel-2 Level-1C",
            bands=sentinel2.band_table(_L1C_KEYS),
            radiometry=radiometry.sentinel2,
            identity=identity.sentinel2,
            dark=sentinel2.DARK_L1C,
        ),
    },
    access=(
        ("s3://eodata/*", AuthScheme.S3_KEYS),
        ("https://download.dataspace.copernicus.eu/*", AuthScheme.OAUTH2),
        ("https://zipper.dataspace.copernicus.eu/*", AuthScheme.OAUTH2),
        ("https://datahub.creodias.eu/*", AuthScheme.ANONYMOUS),
        ("https://stac.dataspace.copernicus.eu/*", AuthScheme.ANONYMOUS),
    ),
    marks=(
        "https://stac.dataspace.copernicus.eu/*",
        "s3://eodata/*",
        "https://download.dataspace.copernicus.eu/*",
        "https://zipper.dataspace.copernicus.eu/*",
    ),
    region="default",
    endpoints={
        "s3": "https://eodata.dataspace.copernicus.eu",
        "token": "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/"
        "openid-connect/token",
    },
    # Quotas page: 4 connections and 20 MB/s for each account, 5 searches a second, 2000 a minute.
    limits=Limits(page_limit=100, largest_page=100, concurrent_searches=4, concurrent_reads=4),
    has_matched=False,
    quirks=(
        "pages over 100 items are answered 429",
        "AOT and WVP state reflectance's scale and offset on items before 2025 or so",
        "B07_60m states the transform of another pixel size",
        "S3 keys expire on the date chosen when they were made",
        "JPEG 2000 files of 2022 do not list the lengths of their tiles: a header read walks them",
        "the https alternate moved from zipper. to download. between 2024 and 2026",
    ),
)
