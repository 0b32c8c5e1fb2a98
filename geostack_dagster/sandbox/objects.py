"""What the object stores hold: virtual images and small documents, read by byte range."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import numpy as np

from geostack_dagster.sandbox import cog
from geostack_dagster.sandbox.cache import ByteCache
from geostack_dagster.sandbox.cog import Level, Pixels, RasterSpec, VirtualCog, Window
from geostack_dagster.sandbox.jp2 import TilePart, VirtualJp2

_BLOCK = 512  # tiles are painted in blocks of this size, so that all tile sizes share the cache
_WORKERS = 2


class Stored(Protocol):
    """An object of a store."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def content_type(self) -> str:
        """Media type."""
        ...

    @property
    def modified(self) -> datetime:
        """When it was stored."""
        ...

    @property
    def etag(self) -> str:
        """Hex digest that changes with the content."""
        ...

    def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Bytes start..stop in pieces."""
        ...


type Make = Callable[[], Stored | None]
"""Makes an object when it is first asked for; None if there are no pixels for it."""


class TileRenderer:
    """Encoded tiles of all images: rendered on worker threads, kept up to a number of bytes."""

    def __init__(self, cache_bytes: int) -> None:
        self._tiles = ByteCache[tuple[str, int, int], bytes](cache_bytes, len)
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="tiles")

    async def tile(self, name: str, step: int, index: int, render: Callable[[], bytes]) -> bytes:
        """One encoded tile of a decimation level of the image called `name`."""
        key = (name, step, index)
        found = self._tiles.peek(key)
        if found is not None:
            return found
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, lambda: self._tiles.get(key, render))

    def close(self) -> None:
        """Stop the workers."""
        self._workers.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class CogObject:
    """A virtual COG whose tiles a renderer paints."""

    name: str
    layout: VirtualCog
    paint: cog.Painter
    renderer: TileRenderer
    modified: datetime
    content_type: str = "image/tiff; application=geotiff; profile=cloud-optimized"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.layout.size

    @property
    def etag(self) -> str:
        """Digest of the name: the pixels are a function of it."""
        return hashlib.md5(f"{self.name}|{self.size}".encode()).hexdigest()

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Bytes start..stop, tile by tile."""
        for level, index, part in self.layout.pieces(start, stop):
            if level is None:
                yield memoryview(self.layout.header)[part]
            else:
                if part.start < level.tile_bytes:
                    tile = await self.renderer.tile(
                        self.name, level.step, index, partial(self._render, level, index)
                    )
                    yield memoryview(tile)[part]
                if part.stop > level.tile_bytes:
                    yield bytes(part.stop - max(part.start, level.tile_bytes))

    def _render(self, level: Level, index: int) -> bytes:
        return cog.encode(_painted(level.window(index), level.shape, self.paint))


@dataclass(frozen=True, slots=True)
class Jp2Object:
    """A virtual JPEG 2000 file whose tiles a renderer paints."""

    name: str
    layout: VirtualJp2
    paint: cog.Painter
    renderer: TileRenderer
    modified: datetime
    content_type: str = "image/jp2"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.layout.size

    @property
    def etag(self) -> str:
        """Digest of the name: the pixels are a function of it."""
        return hashlib.md5(f"{self.name}|{self.size}".encode()).hexdigest()

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Bytes start..stop, tile-part by tile-part."""
        for part, known, span in self.layout.pieces(start, stop):
            if part is None or span.stop <= len(known):
                yield memoryview(known)[span]
            else:
                tile = await self.renderer.tile(
                    self.name, part.window.step, part.index, partial(self._render, part)
                )
                yield memoryview(tile)[span]

    def _render(self, part: TilePart) -> bytes:
        return self.layout.encode(part, _painted(part.window, self.layout.spec.shape, self.paint))


@dataclass(frozen=True, slots=True)
class Document:
    """A small object, made when it is first asked for."""

    make: Callable[[], bytes]
    modified: datetime
    content_type: str
    _made: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """All bytes."""
        if not self._made:
            self._made.append(self.make())
        return self._made[0]

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.body)

    @property
    def etag(self) -> str:
        """MD5 of the content."""
        return hashlib.md5(self.body).hexdigest()

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Bytes start..stop."""
        yield memoryview(self.body)[start:stop]


class Vault:
    """All objects by store, container and key; `store` is `blob`, `s3` or `https`."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], dict[str, Make]] = {}

    def put(self, store: str, container: str, key: str, make: Make) -> None:
        """Add an object, made when it is first asked for."""
        self._held.setdefault((store, container), {})[key] = make

    def remove(self, store: str, container: str, key: str) -> None:
        """Take an object away."""
        self._held.get((store, container), {}).pop(key, None)

    def has_container(self, store: str, container: str) -> bool:
        """Whether a container or bucket exists."""
        return (store, container) in self._held

    def find(self, store: str, container: str, key: str) -> Stored | None:
        """An object."""
        make = self._held.get((store, container), {}).get(key)
        return None if make is None else make()

    def keys(self, store: str, container: str, prefix: str) -> list[str]:
        """Keys with a prefix, in order."""
        held = self._held.get((store, container), {})
        return sorted(key for key in held if key.startswith(prefix))


def cog_object(
    name: str, spec: RasterSpec, paint: cog.Painter, renderer: TileRenderer, modified: datetime
) -> CogObject:
    """A COG object with the layout of its specification."""
    return CogObject(name, VirtualCog(spec), paint, renderer, modified.astimezone(UTC))


def jp2_object(
    name: str, layout: VirtualJp2, paint: cog.Painter, renderer: TileRenderer, modified: datetime
) -> Jp2Object:
    """A JPEG 2000 object of a layout."""
    return Jp2Object(name, layout, paint, renderer, modified.astimezone(UTC))


def _painted(tile: Window, shape: tuple[int, int], paint: cog.Painter) -> Pixels:
    """A tile painted block by block; what lies beyond the edge of the raster is 0."""
    height = min(tile.height, shape[0] - tile.row)
    width = min(tile.width, shape[1] - tile.column)
    whole: Pixels | None = None
    for row in range(0, height, _BLOCK):
        for column in range(0, width, _BLOCK):
            block = paint(
                replace(
                    tile,
                    row=tile.row + row,
                    column=tile.column + column,
                    height=min(_BLOCK, height - row),
                    width=min(_BLOCK, width - column),
                )
            )
            if block.shape[:2] == (tile.height, tile.width):
                return block
            if whole is None:
                whole = np.zeros((tile.height, tile.width, *block.shape[2:]), block.dtype)
            whole[row : row + block.shape[0], column : column + block.shape[1]] = block
    if whole is None:
        raise ValueError(f"the tile at {tile.row}, {tile.column} lies outside its level")
    return whole
