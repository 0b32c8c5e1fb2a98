"""Element 84 Earth Search v1: open COGs on AWS S3 (us-west-2), read without an account.

The originals (`*-jp2` keys, Sentinel-2 L1C, Landsat) lie in requester-pays buckets. The catalogue
ignores CQL2 filters without saying so and offers one empty page after the last full one.
"""

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.domain import identity, radiometry
from geostack_dagster.providers import sentinel2
from geostack_dagster.providers.provider import (
    Collection,
    FilterDialect,
    Limits,
    Provider,
)

_S2_KEYS = {
    "B01": ("coastal",),
    "B02": ("blue",),
    "B03": ("green",),
    "B04": ("red",),
    "B05": ("rededge1",),
    "B06": ("rededge2",),
    "B07": ("rededge3",),
    "B08": ("nir",),
    "B8A": ("nir08",),
    "B09": ("nir09",),
    "B11": ("swir16",),
    "B12": ("swir22",),
    "SCL": ("scl",),
    "AOT": ("aot",),
    "WVP": ("wvp",),
}


def _sentinel2(collection: str, title: str) -> Collection:
    return Collection(
        id=collection,
        title=title,
        bands=sentinel2.band_table(_S2_KEYS),
        radiometry=radiometry.sentinel2,
        identity=identity.sentinel2,
        clear=sentinel2.CLEAR,
        dark=sentinel2.DARK,
    )


EARTH_SEARCH = Provider(
    slug="earth_search",
    title="Element 84 Earth Search",
    description=__doc__,
    stac_url="https://earth-search.aws.element84.com/v1",
    filter_dialect=FilterDialect.QUERY,
    collections={
        name: _sentinel2(name, title)
        for name, title in (
            ("sentinel-2-l2a", "Sentinel-2 Level-2A"),
            ("sentinel-2-c1-l2a", "Sentinel-2 Collection 1 Level-2A"),
        )
    },
    access=(
        ("https://sentinel-cogs.s3.us-west-2.amazonaws.com/*", AuthScheme.ANONYMOUS),
        ("s3://sentinel-cogs/*", AuthScheme.ANONYMOUS),
        (
            "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/*",
            AuthScheme.ANONYMOUS,
        ),
        ("s3://e84-earth-search-sentinel-data/*", AuthScheme.ANONYMOUS),
        ("https://*.amazonaws.com/*", AuthScheme.ANONYMOUS),
        ("https://*.sentinel-hub.com/*", AuthScheme.ANONYMOUS),
        ("https://earth-search.aws.element84.com/*", AuthScheme.ANONYMOUS),
        ("s3://copernicus-dem-*/*", AuthScheme.ANONYMOUS),
        ("s3://*", AuthScheme.REQUESTER_PAYS),
    ),
    marks=(
        "https://earth-search.aws.element84.com/*",
        "https://sentinel-cogs.s3.us-west-2.amazonaws.com/*",
        "s3://sentinel-cogs/*",
        "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/*",
        "s3://e84-earth-search-sentinel-data/*",
        "s3://earthsearch-data/*",
    ),
    bucket_regions={
        "sentinel-s1-l1c": "eu-central-1",
        "sentinel-s2-l1c": "eu-central-1",
        "sentinel-s2-l2a": "eu-central-1",
        "copernicus-dem-30m": "eu-central-1",
        "copernicus-dem-90m": "eu-central-1",
    },
    # Large pages answer 502 (earth-search issue 17).
    limits=Limits(page_limit=100, concurrent_searches=8, concurrent_reads=48),
    quirks=(
        "a CQL2 filter is accepted and ignored: predicates go through `query` and are re-checked",
        "a next link is offered after the last full page, then an empty page",
        "_0_ and _1_ items are processings of one acquisition, a millisecond apart",
        "earthsearch:boa_offset_applied contradicts raster:bands offset: the flag is the truth",
    ),
)
