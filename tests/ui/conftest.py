"""`geostack dev` with a browser in front of it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ALBUM = Path(__file__).parents[2] / "out/ui"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
START_S = 240
_LOADED = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the UI of a fresh `geostack dev`."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; .ci/browser installs it (as root)")
    home = tmp_path_factory.mktemp("dev")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
    try:
        _wait_until_loaded(url, process, home / "dev.log")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="module")
def person(dev: str) -> Iterator[Any]:
    """Someone who has opened the UI."""
    from playwright.sync_api import sync_playwright

    from tests.ui.person import Person

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            # Chromium's own sandbox does not start for root in a container.
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        yield Person(page, dev, ALBUM)
        browser.close()


def _wait_until_loaded(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_S):
        if process.poll() is not None:
            pytest.fail(f"geostack dev ended: {log.read_text()[-2000:]}")
        try:
            answer = httpx.post(f"{url}/graphql", json={"query": _LOADED}, trust_env=False)
            entries = answer.json()["data"]["workspaceOrError"]["locationEntries"]
        except (httpx.HTTPError, KeyError, ValueError):
            entries = []
        if entries and all(one["loadStatus"] == "LOADED" for one in entries):
            return
        time.sleep(1)
    pytest.fail(f"geostack dev did not come up in {START_S} s: {log.read_text()[-2000:]}")
