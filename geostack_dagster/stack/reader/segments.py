"""The parts of a file that have been fetched, addressed as if it were all there."""

from geostack_dagster.stack.reader.transport import Buffer


class MissingBytes(Exception):  # noqa: N818 - a request for more, not a fault
    """Bytes `[start, stop)` are needed next; fetch them, `add` them, and parse again."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.start, self.stop = start, stop


class Segments:
    """Fetched pieces of one file, in no particular order."""

    def __init__(self, first: Buffer) -> None:
        self._parts: list[tuple[int, memoryview]] = [(0, memoryview(first))]

    def add(self, start: int, data: Buffer) -> None:
        """Remember bytes that begin at offset `start`, joined to a piece that ends there."""
        for number, (offset, part) in enumerate(self._parts):
            if offset + len(part) == start:
                self._parts[number] = (offset, memoryview(bytes(part) + bytes(data)))
                return
        self._parts.append((start, memoryview(data)))

    def take(self, start: int, length: int) -> memoryview:
        """These bytes.

        Raises:
            MissingBytes: If they have not been fetched; names only what is missing.
        """
        stop = start + length
        missing = start
        for offset, part in self._parts:
            end = offset + len(part)
            if offset <= start and stop <= end:
                return part[start - offset : stop - offset]
            if offset <= start < end:
                missing = end
        raise MissingBytes(missing, stop)

    @property
    def head(self) -> bytes:
        """The piece at the start of the file."""
        return bytes(self._parts[0][1])
