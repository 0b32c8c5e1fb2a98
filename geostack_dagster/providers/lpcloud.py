"""NASA LP DAAC in the Earthdata Cloud, searched through CMR-STAC.

Search needs no account; files need an Earthdata login: as a bearer over https, or as S3 keys that
live an hour and work in AWS us-west-2 only. Files in `lp-prod-public` (browse images) are open.
"""

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.providers import emit, hls
from geostack_dagster.providers.provider import Collection, FilterDialect, Limits, Provider

LPDAAC_ACCESS = (
    ("https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-public/*", AuthScheme.ANONYMOUS),
    ("https://data.lpdaac.earthdatacloud.nasa.gov/*", AuthScheme.EARTHDATA),
    ("https://lpdaac.earthdata.nasa.gov/lp-prod-public/*", AuthScheme.ANONYMOUS),
    ("https://lpdaac.earthdata.nasa.gov/*", AuthScheme.EARTHDATA),
    ("s3://lp-prod-public/*", AuthScheme.EARTHDATA),
    ("s3://lp-prod-protected/*", AuthScheme.EARTHDATA),
    ("https://opendap.earthdata.nasa.gov/*", AuthScheme.EARTHDATA),
    ("https://cmr.earthdata.nasa.gov/*", AuthScheme.ANONYMOUS),
)
"""Where LP DAAC keeps files, in CMR-STAC and in CMR itself."""

LPDAAC_ENDPOINTS = {
    "login": "https://urs.earthdata.nasa.gov",
    "data": "https://data.lpdaac.earthdatacloud.nasa.gov",
    "s3credentials": "https://data.lpdaac.earthdatacloud.nasa.gov/s3credentials",
}


def by_id(*collections: Collection) -> dict[str, Collection]:
    """Collections under their ids."""
    return {collection.id: collection for collection in collections}


LPCLOUD = Provider(
    slug="lpcloud",
    title="NASA LP DAAC (CMR-STAC)",
    description=__doc__,
    stac_url="https://cmr.earthdata.nasa.gov/stac/LPCLOUD",
    filter_dialect=FilterDialect.QUERY,
    filterable={"eo:cloud_cover": ("lt", "lte", "gt", "gte")},  # anything else is ignored
    collections=by_id(
        emit.methane_enhancement("002", concept_id="C3242680113-LPCLOUD"),
        emit.methane_plumes("002", concept_id="C3242707413-LPCLOUD"),
        emit.methane_enhancement("001", concept_id="C2748097305-LPCLOUD"),
        emit.methane_plumes("001", concept_id="C2748088093-LPCLOUD"),
        emit.reflectance("001", concept_id="C2408750690-LPCLOUD"),
        emit.radiance("001", concept_id="C2408009906-LPCLOUD"),
        hls.collection("HLSL30_2.0", "L30", aliases=("C2021957657-LPCLOUD", "HLSL30.v2.0")),
        hls.collection("HLSS30_2.0", "S30", aliases=("C2021957295-LPCLOUD", "HLSS30.v2.0")),
    ),
    access=LPDAAC_ACCESS,
    marks=(
        "https://cmr.earthdata.nasa.gov/stac*",
        "https://cmr.earthdata.nasa.gov/cloudstac*",
        "https://data.lpdaac.earthdatacloud.nasa.gov/*",
        "s3://lp-prod-p*/*",
    ),
    endpoints=LPDAAC_ENDPOINTS,
    limits=Limits(
        page_limit=100,
        largest_page=100,
        polygon_positions=100,  # in the query string of a next link
        concurrent_searches=4,
        concurrent_reads=16,
    ),
    quirks=(
        "EMIT asset keys contain slashes and differ by Item: assets are found by file name",
        "items state no projection, data type or nodata, data assets no media type",
        "eo:cloud_cover is absent on whole collections (CH4PLM)",
        "next links are GET addresses with a cursor, even after a POST",
        "lt and lte are not told apart, holes of a polygon are ignored: re-checked on the client",
        "polygons must run counter-clockwise, and must not have more than 100 positions",
    ),
)
