"""A loopback server of byte ranges with faults, and files whose every pixel is known."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from geostack_dagster.domain.hrefs import Href

UTM = Affine(10, 0, 600_000, 0, -10, 5_000_040)


@dataclass
class Seen:
    """One request, as the server saw it."""

    path: str
    query: str
    range: tuple[int, int]
    headers: Mapping[str, str]
    sent: int = 0


@dataclass
class RangeServer:
    """Files of a folder; a rule may answer in their place with (status, headers, body) or cut."""

    folder: Path
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    rule: Callable[[Seen], "Fault | None"] | None = None
    delay_s: float = 0.0

    def href(self, name: str) -> Href:
        return Href(f"http://127.0.0.1:{self.port}/{name}")

    @property
    def bytes(self) -> int:
        return sum(request.sent for request in self.seen)

    def reset(self) -> None:
        self.seen.clear()
        self.rule = None
        self.delay_s = 0.0


@dataclass(frozen=True)
class Fault:
    """What to answer instead: a refusal, or the right bytes cut after `keep`."""

    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: int | None = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: ClassVar[RangeServer]
    wbufsize = -1  # one packet for head and body: Nagle would add 40 ms

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        raise AssertionError("no client of ours sends HEAD")

    def do_GET(self) -> None:
        state = self.server_state
        path, _, query = self.path.lstrip("/").partition("?")
        path = unquote(path)
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(path, query, (int(first), int(last) + 1), headers)
        state.seen.append(seen)
        if state.delay_s:
            time.sleep(state.delay_s)
        fault = state.rule(seen) if state.rule else None
        if fault is not None and fault.keep is None:
            self.reply(fault.status, fault.headers, fault.body)
            return
        file = state.folder / path
        if not file.is_file():
            self.reply(404, {}, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        self.send_part(file.read_bytes(), seen, fault)

    def send_part(self, data: bytes, seen: Seen, fault: Fault | None) -> None:
        etag = f'"{len(data)}-{hash(data) & 0xFFFF:x}"'
        if seen.headers.get("if-match", etag) != etag:
            self.reply(412, {}, b"")
            return
        if seen.range[0] >= len(data):
            self.reply(416, {}, b"")
            return
        body = data[slice(*seen.range)]
        seen.sent = len(body)
        place = f"bytes {seen.range[0]}-{seen.range[0] + len(body) - 1}/{len(data)}"
        if fault is not None:
            self.close_connection = True
        self.reply(
            206, {"Content-Range": place, "ETag": etag}, body, keep=fault.keep if fault else None
        )

    def reply(
        self, status: int, headers: Mapping[str, str], body: bytes, *, keep: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if keep is None else body[:keep])
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    # Connections beyond the queue would wait a minute for a retransmission.
    request_queue_size = 256


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RangeServer]:
    state = RangeServer(tmp_path_factory.mktemp("served"))
    handler = type("Handler", (_Handler,), {"server_state": state})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(running_server: RangeServer) -> RangeServer:
    running_server.reset()
    return running_server


@pytest.fixture(scope="session")
def fault() -> type[Fault]:
    return Fault


def unique_pixels(height: int, width: int, dtype: str = "uint16") -> np.ndarray:
    """Values that tell which pixel they are, never 0."""
    count = height * width
    values = (np.arange(count, dtype=np.uint64) * 40503) % 65521 + 1
    return values.reshape(height, width).astype(dtype)


def write_tiff(path: Path, values: np.ndarray, **options: Any) -> Path:
    """A GeoTIFF of (band, row, column) values; tiled, deflated with predictor 2 unless told."""
    overviews = options.pop("overviews", ())
    made = {
        "crs": "EPSG:32632",
        "transform": UTM,
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        "compress": "deflate",
        "predictor": 2,
        "nodata": 0,
        **options,
    }
    bands, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=values.dtype,
        **{name: value for name, value in made.items() if value is not None},
    ) as dataset:  # fmt: skip
        dataset.write(values)
    if overviews:
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews(list(overviews), Resampling.nearest)
    return path


@pytest.fixture(scope="session")
def pixels() -> Callable[..., np.ndarray]:
    return unique_pixels


@pytest.fixture(scope="session")
def tiff() -> Callable[..., Path]:
    return write_tiff


@pytest.fixture(scope="session")
def served(running_server: RangeServer) -> Path:
    """A file on the server with overviews, an odd size and edge tiles: `scene.tif`."""
    values = unique_pixels(915, 850)[None]
    return write_tiff(running_server.folder / "scene.tif", values, overviews=(2, 4, 8))
