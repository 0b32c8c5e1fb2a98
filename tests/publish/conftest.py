"""A product small enough to read in full, and a bucket on loopback."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.partition import Partition
from geostack_dagster.publish.cog import BandText
from geostack_dagster.publish.map_page import Masks
from geostack_dagster.publish.product import Product
from geostack_dagster.publish.stac_item import Origin


class Bucket(ThreadingHTTPServer):
    """Objects of a path-style S3 endpoint; `refuse` answers 403, as for an expired key."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.refuse = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(403 if self.server.refuse else status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Mon, 03 Jun 2024 10:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def do_PUT(self) -> None:
        body = self.body()
        if not self.server.refuse:
            self.server.objects[self.path] = body
        self.answer(200)

    def do_GET(self) -> None:
        there = self.path in self.server.objects
        self.answer(200 if there else 404, self.server.objects.get(self.path, b""))

    def do_POST(self) -> None:  # S3 deletes in bulk
        key = self.body().decode().partition("<Key>")[2].partition("<")[0]
        self.server.objects.pop(f"{self.path.partition('?')[0]}/{key}", None)
        self.answer(
            200, f"<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>".encode()
        )

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    server = Bucket()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "never shown",
        "AWS_REGION": "eu-central-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def grid() -> Grid:
    return Grid(crs="EPSG:32632", resolution=20.0, left=500_000.0, top=5e6, width=90, height=60)


@pytest.fixture
def maps(grid: Grid) -> dict[str, np.ndarray]:
    """Every pixel unique; a cloud and a strip outside the swath are NaN."""
    ramp = np.linspace(-0.3, 1.05, grid.width * grid.height, dtype=np.float32).reshape(grid.shape)
    ramp[10:20, 30:40] = np.nan
    ramp[:, :5] = np.nan
    return {"NDVI": ramp, "NDWI": -ramp / 2}


def source_item(name: str, moment: str, href: str | None) -> dict[str, object]:
    links = [{"rel": "self", "href": href}] if href else []
    return {"id": name, "properties": {"datetime": moment}, "links": links, "assets": {}}


@pytest.fixture
def origin() -> Origin:
    return Origin(
        partition=Partition("es_indices", "po-valley", "2024-06-03"),
        aoi=AOI.from_bbox("po-valley", (9.0, 45.1, 9.02, 45.15)),
        product="indices",
        fingerprint="0123456789abcdef0123",
        sources=(
            source_item("S2B_32TNR_1", "2024-06-03T10:20:41Z", "https://stac.example/b"),
            source_item("S2B_32TNR_0", "2024-06-03T10:20:30Z", "https://stac.example/a"),
            source_item("S2B_without_link", "2024-06-03T10:20:55.5Z", None),
        ),
        lineage="Spectral indices of clear pixels.",
    )


@pytest.fixture
def product(origin: Origin, grid: Grid, maps: dict[str, np.ndarray]) -> Product:
    observed = np.ones(grid.shape, bool)
    observed[:, :5] = False
    return Product(
        origin=origin,
        grid=grid,
        bands=maps,
        texts={"NDVI": BandText(long_name="normalised difference vegetation index")},
        masks=Masks(clear=np.isfinite(maps["NDVI"]), observed=observed),
    )
