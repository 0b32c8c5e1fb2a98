"""Files to read and the server that serves them: the same for every reader of `stack_read.py`.

Files hold only the tiles around the AOI (the rest is sparse): bytes and requests are the same.
"""

import asyncio
import contextlib
import json
import multiprocessing
import re
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

BANDS = ("B02", "B03", "B04", "B08")
SIZE, BLOCK = 10980, 512
LEFT, TOP, RESOLUTION, EPSG = 600000.0, 5000040.0, 10.0, 32632
ORIGIN = Affine(RESOLUTION, 0, LEFT, 0, -RESOLUTION, TOP)
HELD = slice(9, 14)  # rows and columns of tiles that are not sparse
CORNER = (4987, 4891)  # first row and column of the AOI: 3 x 3 tiles


@dataclass(frozen=True)
class Scene:
    """What is read: how many dates, and how large a part of each."""

    dates: int
    side: int
    first: tuple[int, int] = CORNER
    """First row and column."""

    @property
    def grid(self) -> GeoBox:
        shift = Affine.translation(*self.first[::-1])
        return GeoBox((self.side, self.side), ORIGIN * shift, f"EPSG:{EPSG}")

    @property
    def reprojected(self) -> GeoBox:
        box = self.grid.boundingbox.to_crs("EPSG:32633")
        middle = ((box.left + box.right) / 2, (box.bottom + box.top) / 2)
        half = self.side // 2 * RESOLUTION
        corner = Affine(RESOLUTION, 0, middle[0] - half, 0, -RESOLUTION, middle[1] + half)
        return GeoBox((self.side, self.side), corner, "EPSG:32633")

    @property
    def names(self) -> list[str]:
        return [f"{day:02d}_{band}.tif" for day in range(self.dates) for band in BANDS]


# ---------------------------------------------------------------------------------------- files


def files(dates: int) -> Path:
    """Folder of the files, written once and kept in the temporary folder."""
    folder = Path(tempfile.gettempdir()) / "geostack-benchmark-stack-read"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 250, (6 * BLOCK, 6 * BLOCK), dtype=np.uint16)
    for number, name in enumerate(Scene(dates, 1).names):
        if not (folder / name).exists():
            write(folder / name, np.roll(noise, (37 * number, 91 * number), (0, 1)) + number)
    return folder


def write(path: Path, values: np.ndarray) -> None:
    import rasterio
    from rasterio.windows import Window

    draft = path.with_suffix(".part")
    count = (HELD.stop - HELD.start) * BLOCK
    window = Window(HELD.start * BLOCK, HELD.start * BLOCK, count, count)
    with rasterio.open(
        draft, "w", driver="GTiff", width=SIZE, height=SIZE, count=1, dtype="uint16", nodata=0,
        crs=f"EPSG:{EPSG}", transform=ORIGIN, tiled=True, blockxsize=BLOCK, blockysize=BLOCK,
        compress="deflate", predictor=2, sparse_ok=True,
    ) as dataset:  # fmt: skip
        dataset.write(values[:count, :count] + 1, 1, window=window)
    draft.rename(path)


# --------------------------------------------------------------------------------------- server


class Server(asyncio.Protocol):
    """Enough of HTTP/1.1 for range readers; GETs and bytes are counted, answers wait."""

    folder: Path
    delay = 0.0
    requests = 0
    sent = 0
    kept: dict[str, memoryview] = {}  # noqa: RUF012 (one process, one server)

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer, self.queue = transport, b"", asyncio.Queue()
        self.task = asyncio.ensure_future(self.serve())

    def connection_lost(self, exc: Exception | None) -> None:
        self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.queue.put_nowait(head.decode("latin-1"))

    async def serve(self) -> None:
        while True:
            head = await self.queue.get()
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            if target.startswith("/_"):
                self.answer("200 OK", self.control(target), "")
                continue
            Server.requests += 1
            if Server.delay:
                await asyncio.sleep(Server.delay)
            self.send(method, target.rpartition("/")[2], head)

    def control(self, target: str) -> bytes:
        state = {"requests": Server.requests, "bytes": Server.sent}
        if target.startswith("/_delay/"):
            Server.delay = float(target.rpartition("/")[2]) / 1000
        Server.requests = Server.sent = 0
        return json.dumps(state).encode()

    def send(self, method: str, name: str, head: str) -> None:
        data = self.content(name)
        if data is None:
            self.answer("404 Not Found", b"", "")
            return
        found = re.search(r"(?im)^range: bytes=(\d+)-(\d*)", head)
        start = int(found[1]) if found else 0
        stop = min(int(found[2]) + 1 if found and found[2] else len(data), len(data))
        status = "206 Partial Content" if found else "200 OK"
        extra = f'Accept-Ranges: bytes\r\nETag: "{name}"\r\n'
        if found:
            extra += f"Content-Range: bytes {start}-{stop - 1}/{len(data)}\r\n"
        body = data[start:stop]
        if method == "HEAD":
            self.answer(status, body, extra, send=False)
            return
        Server.sent += len(body)
        self.answer(status, body, extra)

    def content(self, name: str) -> memoryview | None:
        if name not in Server.kept:
            path = Server.folder / name
            if not path.is_file():
                return None
            Server.kept[name] = memoryview(path.read_bytes())
        return Server.kept[name]

    def answer(self, status: str, body: Any, extra: str, *, send: bool = True) -> None:
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: image/tiff\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode())
        if send:
            self.transport.write(body)


def run_server(folder: Path, pipe: Any) -> None:
    async def forever() -> None:
        Server.folder = folder
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=run_server, args=(folder, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{mine.recv()}"
    finally:
        process.terminate()
        process.join()


def control(url: str, what: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/_{what}") as answer:
        return json.load(answer)
