"""GDAL reads of protected hrefs: signed now, in an environment of their own, failing by name.

GDAL keeps a URL's failure for the life of the process, reports what went wrong in words, and puts
the signed URL into its messages. Here a failure is looked into once with a plain request, tried
once more past GDAL's cache, and raised as one of this package's errors about the canonical href.
"""

import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rasterio._err import CPLE_BaseError
from rasterio.env import Env
from rasterio.errors import RasterioError
from rasterio.session import DummySession

from geostack_dagster.auth.redaction import RedactingFilter
from geostack_dagster.auth.signer import SignedRequest, Signer
from geostack_dagster.domain.hrefs import Href, basename, locate, redact
from geostack_dagster.errors import (
    AssetError,
    GeostackError,
    Reason,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.providers.access import gdal_source
from geostack_dagster.stack.reader import loop
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy

_HTTP_STATUS = re.compile(r"HTTP (?:response|error) code:? ?(?:on \S+: )?(\d{3})")
_NETWORK = re.compile(r"CURL error|Could ?n.t (?:resolve|connect)|[Tt]imed out")
_LOOK_BYTES = 4096
# The plain request that follows a failure heeds Retry-After, which GDAL does not.
_OPTIONS = {
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "0.25",
    # A failure that GDAL remembers is tried again uncached; until then headers are read once.
    "CPL_VSIL_CURL_NON_CACHED": "",
    # One request for the header; 16 KiB, GDAL's default, is too little for large files.
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    # Threads of GDAL's own know none of these options: they ask without the credential, and leave
    # blank what they were refused.
    "GDAL_NUM_THREADS": "1",
}
# Closing an uncached file empties GDAL's cache for all who read that URL. They would fetch their
# header again while rasterio holds the interpreter's lock, so each keeps what it read itself.
_UNCACHED = {"VSI_CACHE": "YES", "VSI_CACHE_SIZE": "4000000"}
_SIGNING_LOGGERS = (
    *(f"rasterio.{name}" for name in ("_base", "_env", "_err", "_io", "_vsiopener", "_warp")),
    *(f"rasterio.{name}" for name in ("env", "session", "vrt", "warp")),
    "rioxarray.raster_writer",
    "stackstac.rio_reader",
    "httpx",
)


def reading[T](href: Href, signer: Signer, read: Callable[[str], T]) -> T:
    """Result of `read(path)`, with GDAL set up to open `href` at that path.

    Always in a thread of its own where called from the main thread: rasterio sets options of the
    main thread for the whole process, and one archive's Authorization header must not reach
    another archive's reads.

    Raises:
        AssetError: If the asset is truncated, gone or not a raster.
        CredentialError: If access is refused, also with a renewed credential.
        ServiceError: If the archive is busy or cannot be reached.
    """
    if threading.current_thread() is threading.main_thread():
        with ThreadPoolExecutor(1, thread_name_prefix="geostack-gdal") as lane:
            return lane.submit(_persistently, href, signer, read).result()
    return _persistently(href, signer, read)


def _persistently[T](href: Href, signer: Signer, read: Callable[[str], T]) -> T:
    request = signer.sign(href)
    first = _attempt(href, request, read, cached=True)
    if not isinstance(first, _Failure):
        return first
    if locate(href).scheme == "file":
        raise first.error(href)
    _look(href, signer)
    # The look renewed a refused credential; under the same URL GDAL would only remember.
    renewed = signer.sign(href)
    second = _attempt(href, renewed, read, cached=renewed.url != request.url)
    if isinstance(second, _Failure):
        raise second.error(href)
    return second


class _Failure:
    """What GDAL said, without the signed URL; a value, so no traceback holds the original."""

    def __init__(self, error: BaseException, href: Href, request: SignedRequest) -> None:
        said = []
        cause: BaseException | None = error
        while cause is not None:
            said.append(str(cause))
            cause = cause.__cause__ or cause.__context__
        text = "; ".join(dict.fromkeys(said)).replace(request.url, href)
        _, mark, query = request.url.partition("?")
        self.text = redact(text.replace(f"{mark}{query}", "") if query else text)

    def error(self, href: Href) -> GeostackError:
        """The error to raise when trying again did not help either."""
        where = f"{basename(href)} on {locate(href).host or 'the file system'}"
        found = _HTTP_STATUS.search(self.text)
        status = int(found[1]) if found else None
        if status in (400, 401, 403, 407, 409):
            return RejectedCredentialError(
                f"{where}: access refused ({status}) to GDAL, though granted a moment before; is "
                f"the credential about to expire? Asset: {href}"
            )
        if status is not None and status not in (404, 410):
            return ServiceError(f"{where}: {status} every time; try again later", status=status)
        if _NETWORK.search(self.text):
            return ServiceError(
                f"{where} cannot be reached ({self.text}); check the network, the proxy "
                "(HTTPS_PROXY) and the certificates (GDAL_CURL_CA_BUNDLE)"
            )
        known = "not recognized" not in self.text
        return AssetError(
            f"{href} cannot be read as a raster ({self.text}); it is truncated, gone or of another "
            "format. Open it by hand, then search again or drop the item",
            reason=Reason.CORRUPT_TILE if known else Reason.NOT_A_TIFF,
        )


def _attempt[T](
    href: Href, request: SignedRequest, read: Callable[[str], T], *, cached: bool
) -> T | _Failure:
    path, options = gdal_source(request)
    options |= _OPTIONS
    if not request.headers:
        # Without a HEAD, GDAL starts to download the whole file to learn its size.
        options["CPL_VSIL_CURL_USE_HEAD"] = "YES"
    options |= {} if cached else {**_UNCACHED, "CPL_VSIL_CURL_NON_CACHED": path}
    try:
        with Env(session=DummySession(), **options):
            return read(path)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        return _Failure(error, href, request)


def _look(href: Href, signer: Signer) -> None:
    """Ask for the first bytes plainly: the answer's status and body say more than GDAL does."""
    start = loop.wait(_first_bytes(href, signer)).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise AssetError(
            f"{href} holds a web page, not a raster: a login or error page was stored or served "
            "in its place. Open it in a browser to see why",
            reason=Reason.WEB_PAGE,
        )


async def _first_bytes(href: Href, signer: Signer) -> bytes:
    source = ByteSource(signer, policy=FetchPolicy(attempts=3, in_flight=2))
    try:
        return bytes((await source.opening(href, _LOOK_BYTES)).data)
    finally:
        await source.close()


for _name in _SIGNING_LOGGERS:
    logging.getLogger(_name).addFilter(RedactingFilter())
