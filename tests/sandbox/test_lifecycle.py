"""The sandbox stops what it started and never outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geostack_dagster.errors import ServiceError
from geostack_dagster.sandbox import Sandbox, run
from geostack_dagster.sandbox import sandbox as module

_PARENT = """
import sys, time
from geostack_dagster.sandbox import Sandbox
with Sandbox() as sandbox:
    print(sandbox.environment["SSL_CERT_FILE"], flush=True)
    time.sleep(60)
"""


def is_listening(address: str) -> bool:
    import socket

    host, _, port = address.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0


def test_start_and_stop(in_sandbox):
    """Also inside another sandbox."""
    with Sandbox() as sandbox:
        proxy = sandbox.environment["HTTPS_PROXY"]
        assert proxy != os.environ["HTTPS_PROXY"]
        bundle = Path(sandbox.environment["SSL_CERT_FILE"])
        assert bundle.exists()
        assert is_listening(proxy)
        assert is_listening(sandbox.control.url)
    assert not is_listening(proxy)
    assert not bundle.parent.exists()


def test_it_stops_when_its_parent_dies():
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        bundle = Path(parent.stdout.readline().strip())
        assert bundle.exists()
        parent.kill()
    deadline = time.monotonic() + 5
    while bundle.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not bundle.exists()


def test_run_gives_the_exit_code_of_the_command(capfd):
    script = (
        "import requests, sys;"
        "sys.exit(7 if requests.get('https://earth-search.aws.element84.com/v1').ok else 1)"
    )
    assert run([sys.executable, "-c", script]) == 7
    assert run(["no-such-command-at-all"]) == 127
    assert "no-such-command-at-all" in capfd.readouterr().err


def test_up_prints_exports_until_interrupted():
    script = "from geostack_dagster.sandbox import up; up()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("#"):
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    exports = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines[:-1])
    assert exports["HTTPS_PROXY"].startswith("http://127.0.0.1:")
    assert {"SSL_CERT_FILE", "GDAL_CURL_CA_BUNDLE", "NO_PROXY", "PROJ_NETWORK"} <= set(exports)


def test_a_child_that_cannot_start_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "sys", type("Sys", (), {"executable": "/bin/false"}))
    with pytest.raises(ServiceError, match="did not start"), Sandbox():
        pass
