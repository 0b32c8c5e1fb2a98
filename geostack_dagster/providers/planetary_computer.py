"""Microsoft Planetary Computer: COGs on Azure Blob Storage, read with a SAS token per container.

Search needs no account. An unsigned read answers 409 PublicAccessNotPermitted. Tokens live about
45 minutes and the token endpoint limits its rate, so one token per container is shared.
"""

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.domain import identity, radiometry
from geostack_dagster.providers import hls, sentinel2
from geostack_dagster.providers.provider import (
    Collection,
    FilterDialect,
    Limits,
    Provider,
)

_S2_KEYS = {name: (name,) for name in sentinel2.L2A_BANDS}

PLANETARY_COMPUTER = Provider(
    slug="planetary_computer",
    title="Microsoft Planetary Computer",
    description=__doc__,
    stac_url="https://planetarycomputer.microsoft.com/api/stac/v1",
    filter_dialect=FilterDialect.QUERY,
    collections={
        "sentinel-2-l2a": Collection(
            id="sentinel-2-l2a",
            title="Sentinel-2 Level-2A",
            bands=sentinel2.band_table(_S2_KEYS),
            radiometry=radiometry.sentinel2,
            identity=identity.sentinel2,
            clear=sentinel2.CLEAR,
            dark=sentinel2.DARK,
        ),
        "hls2-l30": hls.collection("hls2-l30", "L30"),
        "hls2-s30": hls.collection("hls2-s30", "S30"),
    },
    access=(
        # Rendered previews and tile services answer without a token and refuse one.
        ("https://planetarycomputer.microsoft.com/*", AuthScheme.ANONYMOUS),
        # https://github.com/microsoft/planetary-computer-sdk-for-python signs all but this account.
        ("https://ai4edatasetspublicassets.blob.core.windows.net/*", AuthScheme.ANONYMOUS),
        ("https://*.blob.core.windows.net/*", AuthScheme.SAS),
        ("abfs://*", AuthScheme.SAS),
    ),
    marks=(
        "https://planetarycomputer.microsoft.com/*",
        "https://planetarycomputer-staging.microsoft.com/*",
        "https://*.blob.core.windows.net/*",
    ),
    limits=Limits(page_limit=250, concurrent_searches=4, concurrent_reads=32),
    has_matched=False,
    quirks=(
        "items carry no raster:bands: s2:processing_baseline >= 04.00 means the -1000 offset",
        "datetime is the start of the datatake, the same for all tiles of an orbit pass",
        "no matched count; next link is a POST body with an opaque token",
    ),
)
