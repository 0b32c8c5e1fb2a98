"""Reads that outlive their tokens six times over: right bytes, one token for each lifetime.

`benchmarks/token_expiry.py` is the read; it takes any number of minutes, and states the rule.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "token_expiry.py"
MINUTES = "0.55"
TRANSPORTS = {"SAS": "obstore", "STS": "fsspec", "OAuth2": "fsspec", "bearer": "obstore"}


def read(scheme: str, transport: str, report: Path) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), scheme, "--minutes", MINUTES]
    done = subprocess.run(
        [*command, "--transport", transport, "--json", str(report)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert report.is_file(), done.stderr[-2000:]
    (found,) = json.loads(report.read_text())
    return dict(found)


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    """All schemes at once, each in a process with a sandbox of its own: they mostly wait."""
    folder = tmp_path_factory.mktemp("reads")
    with ThreadPoolExecutor(len(TRANSPORTS)) as pool:
        yield {
            scheme: pool.submit(read, scheme, transport, folder / f"{scheme}.json")
            for scheme, transport in TRANSPORTS.items()
        }


@pytest.mark.parametrize("scheme", TRANSPORTS)
def test_a_read_outlives_its_tokens(reads, scheme):
    found = reads[scheme].result()
    assert found["lifetimes"] >= 6
    assert found["chunks"] > 200
    assert found["wrong"] == 0
    assert found["early"] == 0, "tokens were asked for while others lived"
    assert found["vain"] <= found["tokens"]
    assert found["vain"] == 0 or scheme == "STS", "only keys are asked for with a token"
    assert found["tokens"] >= 5, "it lived on tokens, not on one"
