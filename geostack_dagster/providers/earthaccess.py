"""NASA CMR granules through the earthaccess library: EMIT in sensor geometry, as netCDF swaths.

Not STAC: a granule search, with pages continued by the `CMR-Search-After` header. Granules become
Items at the edge. The same Earthdata login opens the files.
"""

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.providers import emit, hls
from geostack_dagster.providers.lpcloud import LPDAAC_ACCESS, LPDAAC_ENDPOINTS, by_id
from geostack_dagster.providers.provider import FilterDialect, Limits, Provider, SearchApi

EARTHACCESS = Provider(
    slug="earthaccess",
    title="NASA CMR (earthaccess)",
    description=__doc__,
    stac_url="https://cmr.earthdata.nasa.gov/search",
    search_api=SearchApi.CMR,
    search_scheme=AuthScheme.ANONYMOUS,
    filter_dialect=FilterDialect.CMR,
    collections=by_id(
        emit.radiance("001", concept_id="C2408009906-LPCLOUD"),
        emit.radiance("002", concept_id="C4079829720-LPCLOUD"),
        emit.reflectance("001", concept_id="C2408750690-LPCLOUD"),
        emit.reflectance("002", concept_id="C4079844428-LPCLOUD"),
        hls.collection("HLSL30_2.0", "L30", aliases=("C2021957657-LPCLOUD",)),
        hls.collection("HLSS30_2.0", "S30", aliases=("C2021957295-LPCLOUD",)),
    ),
    access=LPDAAC_ACCESS,
    marks=("https://cmr.earthdata.nasa.gov/search/*",),
    endpoints=LPDAAC_ENDPOINTS,
    limits=Limits(page_limit=500, concurrent_searches=4, concurrent_reads=8),
    quirks=(
        "asset keys of granules.stac are data, data1, ... in arbitrary order: found by file name",
        "granules.stac names https addresses only; UMM has the S3 ones as well",
        "a granule is one piece of 2 to 3 GB, bands fastest: all bands of a column travel",
        "zero hits come without a CMR-Search-After header",
    ),
)
