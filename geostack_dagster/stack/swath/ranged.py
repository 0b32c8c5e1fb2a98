"""A remote file of arrays, read by the byte ranges that a part of an array needs.

Every range is signed when it is read, so a token may die and be renewed in the middle of an array.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from geostack_dagster.domain.hrefs import Href, basename
from geostack_dagster.errors import AssetError
from geostack_dagster.stack.reader.byte_file import RemoteBlocks
from geostack_dagster.stack.reader.loop import decode_pool, run, together, wait
from geostack_dagster.stack.reader.ranges import Span, coalesce
from geostack_dagster.stack.reader.source import ByteSource
from geostack_dagster.stack.swath.filters import decoded
from geostack_dagster.stack.swath.hdf5 import HdfFile, contents, read_through
from geostack_dagster.stack.swath.hyperslab import Pieces, covering, is_empty, overlap, pieces
from geostack_dagster.stack.swath.layout import (
    ArrayLayout,
    Chunked,
    Contiguous,
    Opaque,
    Raw,
    StoredChunk,
    Window,
    found,
)


@dataclass(slots=True)
class RangedFile:
    """Arrays of one remote object; travels to other processes as plain values."""

    source: ByteSource
    href: Href
    etag: str | None
    arrays: Mapping[str, ArrayLayout] = field(repr=False)
    attrs: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name."""
        return basename(self.href)

    @property
    def bytes_read(self) -> int:
        """Bytes that its source has fetched."""
        return self.source.traffic.bytes

    def read(self, name: str, window: Window | None = None) -> Raw:
        """Values of a part of an array, as stored."""
        layout = found(self, name)
        wanted = layout.whole if window is None else window
        if isinstance(layout.storage, Opaque):
            return self._through(layout, window)
        out = layout.blank(wanted)
        if not is_empty(wanted):
            try:
                wait(self._fill(layout, wanted, out))
            except AssetError as error:
                raise error.of(f"{self.name}, {name}") from error
        return out

    def close(self) -> None:
        """Give the connections back."""
        wait(self.source.close())

    async def _fill(self, layout: ArrayLayout, window: Window, out: Raw) -> None:
        match layout.storage:
            case Contiguous(offset=int(offset)):
                gap = self.source.policy.coalescing.gap_bytes
                await self._contiguous(pieces(layout, offset, window, gap=gap), layout.dtype, out)
            case Chunked() as storage:
                await self._chunked(layout, storage, window, out)

    async def _contiguous(self, wanted: Pieces, dtype: str, out: Raw) -> None:
        blocks = out.reshape(-1, *wanted.shape)
        starts, stops = wanted.starts.tolist(), wanted.stops.tolist()

        def place(data: memoryview, span: Span) -> None:
            for number in span.members:
                part = data[starts[number] - span.start : stops[number] - span.start]
                blocks[number] = wanted.block(part, dtype)

        spans = coalesce(starts, stops, self.source.policy.coalescing)
        await together(self._fetched(span, place) for span in spans)

    async def _chunked(
        self, layout: ArrayLayout, storage: Chunked, window: Window, out: Raw
    ) -> None:
        needed: list[tuple[tuple[int, ...], StoredChunk]] = [
            (corner, storage.chunks[corner])
            for corner in covering(storage.shape, window)
            if corner in storage.chunks
        ]
        starts = [stored.offset for _, stored in needed]
        stops = [stored.offset + stored.size for _, stored in needed]

        def place(data: memoryview, span: Span) -> None:
            for number in span.members:
                corner, stored = needed[number]
                piece = data[starts[number] - span.start : stops[number] - span.start]
                part, at = overlap(corner, storage.shape, window)
                out[at] = decoded(layout, storage, stored, piece)[part]

        spans = coalesce(starts, stops, self.source.policy.coalescing)
        await together(self._fetched(span, place) for span in spans)

    async def _fetched(self, span: Span, place: Callable[[memoryview, Span], None]) -> None:
        # The slot is held until the bytes are used: it bounds memory as well as connections.
        async with self.source.slots:
            data = await self.source.fetch(self.href, span.start, span.stop, etag=self.etag)
            await run(lambda: place(memoryview(data), span), decode_pool())

    def _through(self, layout: ArrayLayout, window: Window | None) -> Raw:
        if isinstance(layout.storage, Opaque) and layout.dtype != "O":
            note = f"{layout.name} was read by the HDF5 library: {layout.storage.reason}"
            self.notes = tuple(dict.fromkeys((*self.notes, note)))
        blocks = RemoteBlocks(self.source, self.href)
        return read_through(HdfFile(blocks), self.name, layout.name, window, blocks=blocks)


def open_ranged(source: ByteSource, href: Href) -> RangedFile:
    """The file at a canonical href; only the blocks that say what it holds are read.

    Raises:
        AssetError: If there is none, or it is no HDF5 file.
        CredentialError, ServiceError: As every read.
    """
    blocks = RemoteBlocks(source, href)
    told = contents(HdfFile(blocks), basename(href), blocks=blocks)
    return RangedFile(source, href, blocks.etag, told.arrays, told.attrs)
