"""Start and stop the sandbox, and say what a client needs to know to be in it."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from geostack_dagster.errors import ServiceError
from geostack_dagster.sandbox.control import Control

AOIS = Path(__file__).parent / "aois"
"""Folder of the AOIs that the synthetic scenes cover."""
DESERT = AOIS / "desert" / "korpezhe.geojson"
"""One more, which Sentinel-2 alone covers."""
_TOKEN_LIFETIME_S = 45 * 60
_TILE_CACHE_BYTES = 384 << 20
_STOP_S = 5
_NOT_FOUND, _SIGNALLED = 127, 128  # exit codes, as shells give them
_LOCAL = "127.0.0.1,localhost,::1"
_CA_VARIABLES = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GDAL_CURL_CA_BUNDLE",  # the one that rasterio's wheels heed
    "PROJ_CURL_CA_BUNDLE",
    "SSL_CERT_FILE",  # OpenSSL, httpx, obstore and rustac
    "AWS_CA_BUNDLE",
)


class Sandbox:
    """Twins of the providers in a child process; a context manager.

    Production code needs nothing but `environment` to be inside. `with_fields` adds EMIT's passes
    over the oil and gas fields of `fields.FIELDS`.
    """

    def __init__(
        self,
        items: Path | Sequence[Path] | None = None,
        *,
        token_lifetime_s: float = _TOKEN_LIFETIME_S,
        tile_cache_bytes: int = _TILE_CACHE_BYTES,
        with_fields: bool = False,
    ) -> None:
        folders = [items] if isinstance(items, Path) else list(items or ())
        self._settings = {
            "items": [str(folder.resolve()) for folder in folders],
            "token_lifetime_s": token_lifetime_s,
            "tile_cache_bytes": tile_cache_bytes,
            "with_fields": with_fields,
        }
        self._process: subprocess.Popen[str] | None = None
        self._ready: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Start; returns when the twins answer.

        Raises:
            ServiceError: If the child process does not come up.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "geostack_dagster.sandbox.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_outside(os.environ),
            start_new_session=True,  # Ctrl-C reaches the parent, which then stops the child
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # the empty answer below says it
            process.stdin.write(json.dumps(self._settings) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self.__exit__(None, None, None)
            raise ServiceError("the sandbox did not start; its messages are above")
        self._ready = json.loads(line)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the child process."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None and not process.stdin.closed:
            with suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @property
    def environment(self) -> dict[str, str]:
        """Variables that put a process into the sandbox."""
        proxy, bundle = self._ready["proxy"], self._ready["bundle"]
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), proxy)
        return {
            **proxies,
            "NO_PROXY": _LOCAL,
            "no_proxy": _LOCAL,
            **dict.fromkeys(_CA_VARIABLES, bundle),
            "PROJ_NETWORK": "OFF",
            "AWS_EC2_METADATA_DISABLED": "true",
            "GEOSTACK_AWS_REGION": "none",
            # earthaccess.open reads by a session of aiohttp that ignores HTTPS_PROXY. It works for
            # granules with `open_kwargs`: without, it hands fsspec's configuration to requests.
            "FSSPEC_HTTPS_PROXY": proxy,
            **self.account,
        }

    @property
    def account(self) -> dict[str, str]:
        """Credentials that the twins honour, by the variable that a client reads."""
        return dict(self._ready["account"])

    @property
    def withheld(self) -> dict[str, str]:
        """Credentials that the twins honour and `environment` leaves out.

        AWS keys for requester pays buckets: exported, they would also be used for `s3://` storage.
        """
        return dict(self._ready["withheld"])

    @property
    def control(self) -> Control:
        """Faults, log, arrivals."""
        return Control(self._ready["control"])


def run(command: Sequence[str], *, items: Path | Sequence[Path] | None = None) -> int:
    """Run a command inside a sandbox of its own; returns its exit code."""
    if shutil.which(command[0]) is None:
        print(f"command not found: {command[0]}", file=sys.stderr)  # noqa: T201
        return _NOT_FOUND
    with Sandbox(items) as sandbox:
        try:
            return subprocess.run(
                list(command), env={**os.environ, **sandbox.environment}, check=False
            ).returncode
        except KeyboardInterrupt:
            return _SIGNALLED + signal.SIGINT


def up(*, items: Path | Sequence[Path] | None = None, as_json: bool = False) -> None:
    """Keep a sandbox running until Ctrl-C; prints its environment as shell exports or JSON."""
    with suppress(KeyboardInterrupt), Sandbox(items) as sandbox:
        variables = sandbox.environment
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        lines.append(f"# control endpoint: {sandbox.control.url}")
        facts = {"environment": variables, "control": sandbox.control.url}
        print(json.dumps(facts) if as_json else "\n".join(lines), flush=True)  # noqa: T201
        signal.pause()


def _outside(environment: "os._Environ[str]") -> dict[str, str]:
    """The environment without a sandbox that this process may itself be in."""
    dropped = {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", *_CA_VARIABLES}
    return {name: value for name, value in environment.items() if name not in dropped}
