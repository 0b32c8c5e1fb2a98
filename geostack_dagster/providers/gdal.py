"""Handing a signed request to GDAL: a path and options for one read."""

from collections.abc import Mapping

from geostack_dagster.auth.signer import SignedRequest
from geostack_dagster.domain.hrefs import locate


def gdal_source(request: SignedRequest) -> tuple[str, dict[str, str]]:
    """Path and scoped options with which GDAL opens a signed request.

    For `rasterio.Env(**options)` around the open and the read, never for the process environment.
    The path may hold a signature: redact what GDAL says about it.
    """
    path = _gdal_path(request.url)
    options = dict(_GDAL_OPTIONS)
    if request.headers:
        # Quotes keep the commas of an Authorization header from splitting it.
        options["GDAL_HTTP_HEADERS"] = ",".join(
            f'"{name}: {value}"' for name, value in request.headers.items()
        )
        # The URL does not change when the headers are renewed: without this a refusal is cached.
        options["CPL_VSIL_CURL_NON_CACHED"] = path
    return path, options


_GDAL_OPTIONS: Mapping[str, str] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_VERSION": "2TLS",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_NETRC": "NO",
    # A signature covers GET only, and a bucket that refuses HEAD is common.
    "CPL_VSIL_CURL_USE_HEAD": "NO",
}


def _gdal_path(url: str) -> str:
    location = locate(url)
    if location.scheme == "file":
        return location.key
    return f"/vsicurl/{url}"
