"""COGs whose every pixel is unique, served from files and from a loopback archive with faults."""

import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from geostack_dagster.auth.signer import AuthScheme, Credential, SignedRequest
from geostack_dagster.domain import radiometry
from geostack_dagster.domain.bands import Band, BandTable
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.hrefs import Href, SignedHref
from geostack_dagster.providers.provider import Collection, FilterDialect, Provider
from geostack_dagster.stack.ask import StackAsk, make_recipe
from geostack_dagster.stack.recipe import Recipe

UTM32 = "EPSG:32632"
LEFT, TOP, PIXEL = 600000.0, 5000000.0, 10.0


def unique(rows: int, columns: int, *, first: int = 1, dtype: str = "uint16") -> np.ndarray:
    """A raster in which no two pixels are equal (as far as the dtype has numbers)."""
    numbers = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    span = np.iinfo(dtype).max - first if np.dtype(dtype).kind in "iu" else 1 << 24
    return (numbers * 7919 % span + first).astype(dtype)


def tiff(pixels: np.ndarray, **profile: Any) -> bytes:
    """Bytes of a tiled COG with overviews by nearest."""
    rows, columns = pixels.shape[-2:]
    layers = pixels.reshape(-1, rows, columns)
    options = {
        "driver": "COG",
        "width": columns,
        "height": rows,
        "count": len(layers),
        "dtype": pixels.dtype.name,
        "crs": UTM32,
        "transform": rasterio.Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP),
        "nodata": 0,
        "blocksize": 128,
        "compress": "deflate",
        "overview_resampling": "nearest",
        **profile,
    }
    with MemoryFile() as memory:
        with memory.open(**options) as dataset:
            dataset.write(layers)
        return memory.read()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Archive"  # type: ignore[assignment]

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        with self.server.busy():
            status, headers, content = self.server.reply(self)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)


class Archive(ThreadingHTTPServer):
    """Byte ranges over loopback, open below /open/ and by `sig=` elsewhere, with faults."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        """By path, answers to give instead of the file, one after the other."""
        self.permanent: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.tokens: set[str] = set()
        self.requests: list[tuple[str, str, str | None]] = []
        self.tagged = False
        """Whether answers carry the entity tag of what they are a part of."""
        self.latency_s = 0.0
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, path: str, content: bytes) -> str:
        self.files[path] = content
        return f"{self.root}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """GDAL breaks connections off; that is no failure."""

    @contextmanager
    def busy(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        time.sleep(self.latency_s)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def reply(self, request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        path, _, query = request.path.partition("?")
        asked = request.headers.get("Range")
        with self._lock:
            self.requests.append((request.command, request.path, asked))
            fault = self.faults.get(path)
            if fault:
                return fault.pop(0)
        if path in self.permanent:
            return self.permanent[path]
        if not path.startswith("/open/"):
            found = re.search(r"sig=([^&]*)", query)
            if found is None:
                return 409, {}, b"<Error><Code>PublicAccessNotPermitted</Code></Error>"
            if found[1] not in self.tokens:
                return 403, {}, b"<Error><Code>AuthenticationFailed</Code></Error>"
        content = self.files.get(path)
        if content is None:
            return 404, {}, b"<Error><Code>BlobNotFound</Code></Error>"
        answer = _part(content, asked)
        return _tagged(request, answer, zlib.crc32(content)) if self.tagged else answer


def _tagged(
    request: BaseHTTPRequestHandler, answer: tuple[int, dict[str, str], bytes], checksum: int
) -> tuple[int, dict[str, str], bytes]:
    tag, (status, headers, body) = f'"{checksum:x}"', answer
    if request.headers.get("If-Match", tag) != tag:
        return 412, {}, b""
    return status, {**headers, "ETag": tag}, body


def _part(content: bytes, asked: str | None) -> tuple[int, dict[str, str], bytes]:
    headers = {"Accept-Ranges": "bytes"}
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    if found is None:
        return 200, headers, content
    start = int(found[1])
    stop = min(int(found[2] or len(content)) + 1, len(content))
    if start >= len(content):
        return 416, {**headers, "Content-Range": f"bytes */{len(content)}"}, b""
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return 206, headers, content[start:stop]


@dataclass
class TokenSigner:
    """Signs with the newest token of a loopback archive; renews when told that it was refused."""

    archive: Archive | None = field(default=None)
    token: str = "expired-token-that-nobody-takes"
    forgotten: int = 0
    signed: int = 0

    def scope(self, href: Href) -> str:
        return "" if self.archive is None else str(href).rpartition("/")[0]

    def sign(self, href: Href) -> SignedRequest:
        self.signed += 1
        if self.archive is None or not str(href).startswith("http"):
            return SignedRequest(SignedHref(str(href)))
        return SignedRequest(SignedHref(f"{href}?sv=2021&sig={self.token}"))

    def credential(self, href: Href) -> Credential | None:
        return None

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        self.forgotten += 1
        if self.archive is None or not self.archive.tokens:
            return False
        self.token = max(self.archive.tokens)
        return refused.url != self.sign(href).url

    def __reduce__(self) -> tuple[object, ...]:
        return (TokenSigner, ())


@pytest.fixture
def archive() -> Iterator[Archive]:
    with Archive() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def signer() -> TokenSigner:
    """Opens files and /open/ without a credential."""
    return TokenSigner()


def bands() -> BandTable:
    return BandTable(
        (
            Band(name="B04", keys=("B04",), common_name="red", wavelength_nm=664.6),
            Band(name="B08", keys=("B08",), common_name="nir", wavelength_nm=832.8),
            Band(name="SCL", keys=("SCL",), dtype="uint8", categorical=True),
            Band(name="ENH", keys=("ENH",), dtype="float32", nodata=-9999.0),
        )
    )


def _radiometry(item: Any, asset: Any, band: Band) -> radiometry.Radiometry:
    rule = radiometry.stated if band.wavelength_nm is None else radiometry.sentinel2
    return rule(item, asset, band)


def provider() -> Provider:
    """An archive with Sentinel-2's radiometry that keeps assets anywhere."""
    return Provider(
        slug="test_archive",
        title="Test archive",
        description="",
        stac_url="https://example.invalid",
        filter_dialect=FilterDialect.NONE,
        collections={
            name: Collection(id=name, title=name, bands=bands(), radiometry=_radiometry)
            for name in ("s2", "other")
        },
        access=(("*", AuthScheme.ANONYMOUS),),
    )


def item(
    name: str = "A",
    assets: Mapping[str, str] | None = None,
    *,
    when: str = "2024-06-03T10:30:00Z",
    baseline: str = "05.11",
    shape: tuple[int, int] = (512, 512),
    asset: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A STAC Item in the manner of Planetary Computer: CRS on the item, grid on the asset."""
    extra = {
        "proj:shape": list(shape),
        "proj:transform": [PIXEL, 0.0, LEFT, 0.0, -PIXEL, TOP],
        **(asset or {}),
    }
    return {
        "type": "Feature",
        "id": name,
        "collection": "s2",
        "properties": {
            "datetime": when,
            "proj:epsg": 32632,
            "s2:processing_baseline": baseline,
            **(properties or {}),
        },
        "assets": {
            key: {"href": href, **extra} for key, href in (assets or {"B04": "B04.tif"}).items()
        },
    }


GRID = Grid(crs=UTM32, resolution=PIXEL, left=LEFT, top=TOP, width=512, height=512)
JUNE = Window(date(2024, 6, 1), date(2024, 7, 1))


def ask(**changes: Any) -> StackAsk:
    return StackAsk(
        **{"collections": ("s2",), "bands": ("B04",), "grid": GRID, "window": JUNE, **changes}
    )


def recipe(items: Any, **changes: Any) -> Recipe:
    return make_recipe(provider(), items, ask=ask(**changes))


@dataclass(frozen=True)
class Kit:
    """What tests build with; a fixture, because test folders are no packages."""

    unique: Callable[..., np.ndarray] = unique
    tiff: Callable[..., bytes] = tiff
    item: Callable[..., dict[str, Any]] = item
    ask: Callable[..., StackAsk] = ask
    recipe: Callable[..., Recipe] = recipe
    provider: Callable[[], Provider] = provider
    signer: type[TokenSigner] = TokenSigner
    grid: Grid = GRID


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a COG into a file and give its path."""

    def write(name: str, pixels: np.ndarray, **profile: Any) -> str:
        path = tmp_path / name
        path.write_bytes(tiff(pixels, **profile))
        return str(path)

    return write
