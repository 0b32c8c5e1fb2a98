"""`geostack dev` with a browser in front of it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ALBUM = Path(__file__).parents[2] / "out/ui"
PERSON = pytest.StashKey[Any]()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
START_S = 240
_LOADED = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Take what an earlier failure of the test left out of the album."""
    for picture in ALBUM.glob(f"{evidence_of(item)}.*"):
        picture.unlink()


def pytest_exception_interact(node: pytest.Item, report: pytest.TestReport) -> None:
    """Keep what the person saw when a test failed, and say it below the failure."""
    person = node.config.stash.get(PERSON, None)
    if person is not None:
        report.sections.append(("what the person saw", person.testifies(evidence_of(node))))


def evidence_of(item: pytest.Item) -> str:
    """Name in the album of what was seen when a test failed."""
    return f"failed_{re.sub(r'[^\w-]+', '_', item.name)}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of Dagster's instance and the storage."""
    return tmp_path_factory.mktemp("dev")


@pytest.fixture(scope="module")
def dev(home: Path) -> Iterator[str]:
    """Address of the UI of a fresh `geostack dev`."""
    port = free_port()
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DAGSTER_HOME", "GEOSTACK_STORAGE", "GEOSTACK_AOIS")
    }
    command = [str(Path(sys.executable).parent / "geostack"), "dev", "--home", str(home)]
    with (home / "dev.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=variables, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    with stopped(process):
        wait_until_loaded(url, process, home / "dev.log")
        yield url


@pytest.fixture(scope="module")
def person(pytestconfig: pytest.Config) -> Iterator[Any]:
    """Someone with a browser; `url` says at which UI."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; .ci/browser installs it (as root)")
    from playwright.sync_api import sync_playwright

    from tests.ui.person import Person

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            # Chromium's own sandbox does not start for root in a container.
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        pytestconfig.stash[PERSON] = Person(page, ALBUM)
        yield pytestconfig.stash[PERSON]
        del pytestconfig.stash[PERSON]
        browser.close()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a server at the end of the block."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_until_loaded(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the UI answers and has loaded the code location."""
    for _ in range(START_S):
        if process.poll() is not None:
            pytest.fail(f"the UI ended: {log.read_text()[-2000:]}")
        try:
            answer = httpx.post(f"{url}/graphql", json={"query": _LOADED}, trust_env=False)
            entries = answer.json()["data"]["workspaceOrError"]["locationEntries"]
        except (httpx.HTTPError, KeyError, ValueError):
            entries = []
        if entries and all(one["loadStatus"] == "LOADED" for one in entries):
            return
        time.sleep(1)
    pytest.fail(f"the UI did not come up in {START_S} s: {log.read_text()[-2000:]}")
