"""A partition of granules as an earlier snapshot holds it."""

from collections.abc import Iterable

from geostack_dagster.cube.backend import Committed, Transaction
from geostack_dagster.cube.change import note_text
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.store import Commit
from geostack_dagster.cube.swaths.book import Book, StoredGranule, documents, read_days
from geostack_dagster.cube.swaths.writing import remove
from geostack_dagster.errors import ConflictError

_AT_ONCE = 64  # chunks copied at a time: a granule may be larger than memory


def restore(
    quantity: str, books: tuple[Book, Book], old: Keys, transaction: Transaction, note: Commit
) -> Committed | None:
    """Make the days hold the granules that they held, in one commit; None if they do already.

    Args:
        quantity: Group of the granules.
        books: What the days say now, and what they said.
        old: The earlier snapshot.
        transaction: On the present state.
        note: Of the commit.

    Raises:
        ConflictError: If another writer changed the days meanwhile; nothing was written.
    """
    before, after = books
    present, wanted = _granules(before), _granules(after)
    for path in present.keys() - wanted.keys():
        remove(transaction.keys, path)
    for path, granule in wanted.items():
        if present.get(path) != granule:
            remove(transaction.keys, path)
            _copy(old, path, transaction.keys)

    def settle(newest: Keys) -> bool:
        if read_days(newest, quantity, before) != before:
            raise ConflictError(
                f"another writer changed these days of {quantity!r} meanwhile; nothing was rolled "
                "back: look at the history again"
            )
        if after == before:  # Icechunk takes no commit that changes nothing
            return False
        newest.put(documents(quantity, after))
        return True

    return transaction.commit(note_text(f"rollback {quantity}", note), settle)


def _granules(book: Book) -> dict[str, StoredGranule]:
    return {one.path: one for record in book.values() for one in record.granules}


def _copy(old: Keys, path: str, target: Keys) -> None:
    keys = old.below(path)
    # Icechunk takes no chunk of an array that it does not know yet.
    described = [key for key in keys if key.endswith("zarr.json")]
    target.put(dict(old.get(described)))
    for some in _batches([key for key in keys if not key.endswith("zarr.json")]):
        target.put(dict(old.get(some)))


def _batches(keys: list[str]) -> Iterable[list[str]]:
    return (keys[at : at + _AT_ONCE] for at in range(0, len(keys), _AT_ONCE))
