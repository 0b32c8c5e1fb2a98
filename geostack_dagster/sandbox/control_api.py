"""The sandbox's own endpoint, plain HTTP on loopback; `control.py` is its client."""

from collections.abc import Callable
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from geostack_dagster.sandbox import clock
from geostack_dagster.sandbox.faults import Fault
from geostack_dagster.sandbox.twins import Twins


class ControlApi:
    """Faults, log, Items, tokens and clock of running twins."""

    def __init__(self, twins: Twins) -> None:
        self._twins = twins

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/faults", self._faults, methods=["GET", "POST", "DELETE"]),
                Route("/log", self._log, methods=["GET", "DELETE"]),
                Route("/items", self._items, methods=["GET", "POST"]),
                Route("/items/{verb}", self._change, methods=["POST"]),
                Route("/tokens", self._tokens, methods=["POST"]),
                Route("/clock", self._clock, methods=["POST"]),
            ]
        )

    async def _faults(self, request: Request) -> Response:
        gate = self._twins.gate
        if request.method == "POST":
            gate.faults.append(Fault.of(await request.json()))
        elif request.method == "DELETE":
            gate.faults.clear()
        return JSONResponse([fault.to_json() for fault in gate.faults])

    async def _log(self, request: Request) -> Response:
        entries = [asdict(entry) for entry in self._twins.gate.log]
        if request.method == "DELETE":
            self._twins.gate.log.clear()
        return JSONResponse(entries)

    async def _items(self, request: Request) -> Response:
        if request.method == "POST":
            body = await request.json()
            self._twins.setting.archives[body["archive"]].publish(body["items"])
        listed = [
            {"archive": slug, "collection": record.key[0], "id": record.key[1]}
            for slug, archive in self._twins.setting.archives.items()
            for record in archive.catalogue.records()
        ]
        return JSONResponse({"listed": listed, "pending": self._twins.pending()})

    async def _change(self, request: Request) -> Response:
        body = await request.json()
        verb, name = request.path_params["verb"], body["id"]
        changes: dict[str, Callable[[], str]] = {
            "arrive": lambda: self._twins.arrive(name),
            "withdraw": lambda: self._twins.withdraw(name),
            "mislabel": lambda: self._twins.mislabel(name),
            "reprocess": lambda: self._twins.reprocess(name, body.get("baseline")),
        }
        try:
            return JSONResponse({"result": changes[verb]()})
        except KeyError:
            return JSONResponse({"error": f"cannot {verb} {name!r}: no such Item"}, 404)

    async def _tokens(self, request: Request) -> Response:
        lifetime = self._twins.setting.lifetime
        lifetime.seconds = float((await request.json())["lifetime_s"])
        return JSONResponse({"lifetime_s": lifetime.seconds})

    async def _clock(self, request: Request) -> Response:
        skew_s = float((await request.json())["skew_s"])
        clock.shift(skew_s)
        return JSONResponse({"skew_s": skew_s})
