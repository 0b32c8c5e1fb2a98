"""What every store of cubes promises, to be run at a `place`: a bucket's URL."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geostack_dagster.cube.store import CubeStore, Kind, open_store
from geostack_dagster.errors import ConfigurationError, RejectedCredentialError
from tests.cube import scenes
from tests.cube import test_store_contract as contract
from tests.cube.scenes import SCHEMA, assert_holds, window, write
from tests.cube.test_concurrency import assert_complete
from tests.cube.test_store_contract import (
    TestBeforeAnything,
    TestClear,
    TestHistory,
    TestLedger,
    TestSchema,
    TestWrite,
)
from tests.cube.test_versions import TestConflicts, TestExpiry, TestRollback, TestWithoutLock

__all__ = [
    "TestBeforeAnything",
    "TestClear",
    "TestConflicts",
    "TestElsewhere",
    "TestExpiry",
    "TestFingerprints",
    "TestHistory",
    "TestLedger",
    "TestRefused",
    "TestRollback",
    "TestSchema",
    "TestWithoutLock",
    "TestWrite",
]

KINDS: tuple[Kind, ...] = ("icechunk", "zarr")
SECRETS = {"s3": "AWS_SECRET_ACCESS_KEY", "az": "AZURE_STORAGE_ACCOUNT_KEY"}
WRITERS, PARTITIONS = 4, 8
WRITE = """
import sys
from tests.cube.scenes import write_partitions
write_partitions(sys.argv[1], [int(number) for number in sys.argv[2:]])
"""


class TestFingerprints(contract.TestFingerprints):
    def test_the_newest_commit_of_another_store_object_is_seen(self, store: CubeStore, tmp_path):
        kind: Kind = "icechunk" if store.history()[0].snapshot else "zarr"
        write(open_store(store.url, kind=kind), {0: 1}, "one")
        assert store.is_current(SCHEMA.name, window(0), "one")
        assert_holds(open_store(store.url, kind=kind), {0: 1})


class TestElsewhere:
    """Writers in other processes, which find the place by their environment."""

    @pytest.mark.timeout(600)
    def test_the_same_partitions_by_writers_who_meet_in_the_middle(self, versioned: CubeStore):
        halves = [list(range(first, PARTITIONS, WRITERS // 2)) for first in range(WRITERS // 2)]
        work = [*halves, *(numbers[::-1] for numbers in halves)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", WRITE, versioned.url, *map(str, numbers)],
                cwd=Path(__file__).parents[2],
                env=os.environ,
            )
            for numbers in work
        ]
        assert [process.wait(500) for process in processes] == [0] * WRITERS
        assert_complete(versioned, PARTITIONS)


@pytest.mark.parametrize("kind", KINDS)
class TestRefused:
    """A refusal is not a service that is down: trying again would not help."""

    def test_a_wrong_key(self, place: str, kind: Kind, monkeypatch: pytest.MonkeyPatch):
        made = open_store(f"{place}/cube", kind=kind)
        made.ensure(SCHEMA)
        variable, secret = SECRETS[place[:2]], base64.b64encode(b"wrong" * 8).decode()
        monkeypatch.setenv(variable, secret)
        for url in (f"{place}/cube", f"{place}/another"):
            with pytest.raises(RejectedCredentialError, match=variable) as found:
                open_store(url, kind=kind).ensure(SCHEMA)
            assert secret not in str(found.value)

    def test_a_bucket_that_is_not_there(self, place: str, kind: Kind):
        elsewhere = open_store(f"{place}-not/cube", kind=kind)
        with pytest.raises(ConfigurationError, match="does not exist; create it"):
            elsewhere.ensure(SCHEMA)
        assert elsewhere.slots(SCHEMA.name) == []

    def test_a_reader_that_may_not_write(
        self, place: str, kind: Kind, request: pytest.FixtureRequest
    ):
        made = open_store(f"{place}/cube", kind=kind)
        made.ensure(SCHEMA)
        write(made, {0: 1}, "one")
        request.getfixturevalue("read_only")
        reader = open_store(f"{place}/cube", kind=kind)
        assert_holds(reader, {0: 1})
        with pytest.raises(RejectedCredentialError):
            scenes.write(reader, {1: 2}, "two")
        assert not reader.is_current(SCHEMA.name, window(1), "two")
