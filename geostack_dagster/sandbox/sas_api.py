"""Planetary Computer's token service: signed tokens for containers and for collections."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from geostack_dagster.sandbox.dialects import Dialect
from geostack_dagster.sandbox.sas import SasAuthority

_PATH = "/api/sas/v1/token"


def sas_routes(authority: SasAuthority, dialect: Dialect) -> list[Route]:
    """Routes of `/api/sas/v1`."""

    async def of_container(request: Request) -> Response:
        return _issued(request.path_params["account"], request.path_params["container"])

    async def of_collection(request: Request) -> Response:
        name = request.path_params["collection"]
        facts = dialect.collections.get(name)
        if facts is None:
            body = {"detail": f"No container found for collection {name}"}
            return Response(json.dumps(body), 404, media_type="application/json")
        return _issued(facts.extra["msft:storage_account"], facts.extra["msft:container"])

    def _issued(account: str, container: str) -> Response:
        expiry, token = authority.token(account, container)
        body = json.dumps({"msft:expiry": expiry, "token": token})
        return Response(body, media_type="application/json")

    return [
        Route(f"{_PATH}/{{account}}/{{container}}", of_container, methods=["GET"]),
        Route(f"{_PATH}/{{collection}}", of_collection, methods=["GET"]),
    ]
