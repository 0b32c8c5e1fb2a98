"""Claims: one at a time, on a disk and in a bucket; the dead are followed by the living."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from geostack_dagster import storage
from geostack_dagster.errors import ConflictError, ServiceError
from geostack_dagster.pipeline.claim import Pace, claimed
from geostack_dagster.pipeline.holds import run_stage
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox import Sandbox
from tests.pipeline.conftest import FIELD, Chain, spec_of

DAY = "2024-07-03"
QUICK = Pace(poll_s=0.01, renew_s=0.02, silent_s=5.0)
NEVER = 1000.0


@pytest.fixture(params=["path", "file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("bucket")
    return {
        "path": f"{tmp_path}/with space/a.claim",
        "file": f"{tmp_path.as_uri()}/with%20space/a.claim",
        "s3": "s3://bucket/deep/a.claim",
    }[request.param]


def test_many_work_one_after_the_other(url: str) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with claimed(url, QUICK):
            inside.append(number)
            most.append(len(inside))
            Event().wait(0.01)
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    assert most == [1] * 24


def test_work_that_failed_gives_its_claim_back(url: str) -> None:
    with pytest.raises(ServiceError, match="archive"), claimed(url, QUICK):
        raise ServiceError("the archive does not answer")
    with claimed(url, Pace(patience_s=0)):
        pass


def test_who_waited_for_very_long_says_so(url: str) -> None:
    with (
        claimed(url),
        pytest.raises(ConflictError, match="another run has held"),
        claimed(url, Pace(poll_s=0.01, patience_s=0.05)),
    ):
        pass


def test_the_living_renew_their_claim(bucket: Any) -> None:
    url, found = "s3://bucket/a.claim", set()
    with claimed(url, QUICK):
        while len(found) < 4:
            found.add(storage.read_bytes(url))
    assert not storage.exists(url)


def test_the_dead_are_followed(bucket: Any) -> None:
    url = "s3://bucket/a.claim"
    storage.write_bytes(url, b"somebody who died")
    with claimed(url, Pace(poll_s=0.01, silent_s=0.2)):
        assert storage.read_bytes(url) != b"somebody who died"


def test_a_claim_that_was_lost_is_not_given_back(bucket: Any) -> None:
    url = "s3://bucket/a.claim"
    with claimed(url, Pace(renew_s=NEVER, silent_s=0)):
        storage.write_bytes(url, b"a successor")
    assert storage.read_bytes(url) == b"a successor"


def test_an_answer_that_was_lost_does_not_lock_its_asker_out(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap, lost = storage.swap_bytes, Event()

    def once_lost(url: str, content: bytes, *, expected: bytes | None) -> None:
        swap(url, content, expected=expected)
        if not lost.is_set():  # the client asks again, and is told that somebody was first
            lost.set()
            swap(url, content, expected=expected)

    monkeypatch.setattr(storage, "swap_bytes", once_lost)
    with claimed("s3://bucket/a.claim", Pace(poll_s=0.01, patience_s=0.1, renew_s=NEVER)):
        assert lost.is_set()


def test_a_bucket_that_may_only_be_read_takes_no_claim(bucket: Any) -> None:
    bucket.refuse = True
    with claimed("s3://bucket/a.claim", QUICK):
        assert not bucket.objects


@pytest.mark.parametrize("store", ["icechunk", "zarr"])
def test_two_runs_at_once_do_the_work_once(in_sandbox: Sandbox, tmp_path: Path, store: str) -> None:
    alone = Chain(spec_of("earth_search", store=store), _workspace(tmp_path / "alone"))
    chain = Chain(spec_of("earth_search", store=store), _workspace(tmp_path / "both"))
    # So long that both have decided before one of them is done.
    in_sandbox.control.fault(latency_s=0.5)
    for stage in chain.spec.stages:
        in_sandbox.control.clear_log()
        run_stage(alone.spec, stage, alone.partition(DAY), alone.workspace)
        wanted = _read(in_sandbox)
        in_sandbox.control.clear_log()
        outcomes = _at_once(chain, stage)
        assert outcomes == Counter({"written": 1, "unchanged": 1}), stage
        assert _read(in_sandbox) == wanted, stage


def _at_once(chain: Chain, stage: str) -> Counter[str]:
    barrier = Barrier(2)

    def run(_: int) -> str:
        barrier.wait()
        report = run_stage(chain.spec, stage, chain.partition(DAY), chain.workspace)
        return report.outcome.value

    with ThreadPoolExecutor(2) as pool:
        return Counter(pool.map(run, range(2)))


def _workspace(root: Path) -> Workspace:
    workspace = Workspace(str(root))
    workspace.pin(FIELD)
    return workspace


def _read(sandbox: Sandbox) -> Counter[str]:
    """Reads of pixels, by file."""
    return Counter(entry["path"] for entry in sandbox.control.log() if "/B0" in entry["path"])
