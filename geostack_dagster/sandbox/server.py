"""The sandbox's child process: twins, redirector and control endpoint in one event loop.

Reads its settings as one line of JSON on standard input and answers with one line on standard
output when it is up. Standard input stays open as a lifeline: when it closes, because the parent
asked for it or died, the process stops.
"""

import asyncio
import contextlib
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from geostack_dagster.sandbox import tls
from geostack_dagster.sandbox.clock import dated
from geostack_dagster.sandbox.control_api import ControlApi
from geostack_dagster.sandbox.redirector import Redirector
from geostack_dagster.sandbox.twins import Twins

_KEEP_ALIVE_S = 75


async def serve(settings: dict[str, Any]) -> None:
    """Serve until standard input closes."""
    twins = Twins(
        token_lifetime_s=settings["token_lifetime_s"],
        tile_cache_bytes=settings["tile_cache_bytes"],
        with_fields=settings["with_fields"],
    )
    for folder in settings["items"]:
        twins.load(Path(folder), _report)
    with tempfile.TemporaryDirectory(prefix="geostack-sandbox-") as folder:
        certificates = tls.issue(twins.hosts, Path(folder))
        async with contextlib.AsyncExitStack() as stack:
            secure = await _listen(stack, dated(twins.gate), certificates)
            control = await _listen(stack, ControlApi(twins).app(), None)
            redirector = Redirector(twins.hosts, secure, twins.gate.refused)
            proxy = await redirector.start()
            stack.callback(redirector.stop)
            ready = {
                "proxy": f"http://127.0.0.1:{proxy}",
                "control": f"http://127.0.0.1:{control}",
                "bundle": str(certificates.bundle),
                "account": twins.variables,
                "withheld": twins.withheld,
            }
            print(json.dumps(ready), flush=True)  # noqa: T201 - the parent reads it
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    twins.setting.renderer.close()


async def _listen(
    stack: contextlib.AsyncExitStack, app: ASGIApp, certificates: tls.Certificates | None
) -> int:
    """Serve an application on a free port of loopback until the stack unwinds."""
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        server_header=False,
        date_header=False,
    )
    config.load()
    if certificates is not None:
        config.ssl = certificates.context
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    await server.startup(sockets=[listener])
    stack.push_async_callback(server.shutdown, sockets=[listener])
    port: int = listener.getsockname()[1]
    return port


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - for the person who gave the folder


def main() -> None:
    """Entry point of the child process."""
    settings = json.loads(sys.stdin.readline())
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(settings), loop_factory=_loop_factory())


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
