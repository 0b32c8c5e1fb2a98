"""What commits on an object store lean on: of many who make a key, one does."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError

pytestmark = pytest.mark.services

KEYS, WRITERS = 20, 8


@pytest.mark.parametrize("place", ["s3_url", "az_url"])
def test_of_many_who_make_a_key_one_does(place: str, request: pytest.FixtureRequest):
    store = obstore.store.from_url(request.getfixturevalue(place))
    gate = Barrier(WRITERS)

    def make(writer: int) -> list[bool]:
        made = []
        for number in range(KEYS):
            gate.wait()
            try:
                obstore.put(store, f"key-{number}", bytes([writer]) * 1000, mode="create")
            except AlreadyExistsError:
                made.append(False)
            else:
                made.append(True)
        return made

    with ThreadPoolExecutor(WRITERS) as pool:
        found = list(pool.map(make, range(WRITERS)))
    winners = Counter(number for made in found for number, won in enumerate(made) if won)
    assert winners == dict.fromkeys(range(KEYS), 1)
    for number in range(KEYS):
        (winner,) = [writer for writer, made in enumerate(found) if made[number]]
        assert bytes(obstore.get(store, f"key-{number}").bytes()) == bytes([winner]) * 1000
