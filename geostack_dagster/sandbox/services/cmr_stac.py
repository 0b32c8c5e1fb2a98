"""CMR-STAC: the catalogue of LP DAAC, below a root that lists the providers."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from geostack_dagster.sandbox.dialects import CMR_STAC
from geostack_dagster.sandbox.dialects.cmr_stac import PROVIDER, STAC_ROOT
from geostack_dagster.sandbox.service import Service, Setting
from geostack_dagster.sandbox.services.stac import catalogue

_ROOT_PATH = "/stac"
_TITLE = "NASA CMR-STAC Root Catalog"


def cmr_stac(setting: Setting) -> Service:
    """Everything below `/stac`; the rest of the host is CMR itself."""
    app = catalogue(setting, CMR_STAC)
    app.router.routes += [
        Route(_ROOT_PATH, _root),
        Route(f"{_ROOT_PATH}/", _root),
        Route(f"{_ROOT_PATH}/{{provider}}", _no_provider),
        Route(f"{_ROOT_PATH}/{{provider}}/{{rest:path}}", _no_provider, methods=["GET", "POST"]),
    ]
    return Service(hosts=(f"{CMR_STAC.host}{_ROOT_PATH}",), app=app)


async def _root(request: Request) -> Response:
    json_type = "application/json"
    return JSONResponse(
        {
            "type": "Catalog",
            "id": "CMR-STAC",
            "stac_version": CMR_STAC.stac_version,
            "conformsTo": list(CMR_STAC.conformance),
            "links": [
                {"rel": "self", "href": STAC_ROOT, "type": json_type, "title": _TITLE},
                {"rel": "root", "href": STAC_ROOT, "title": _TITLE, "type": json_type},
                {
                    "rel": "child",
                    "title": PROVIDER,
                    "type": json_type,
                    "href": f"{STAC_ROOT}/{PROVIDER}",
                },
            ],
            "title": "NASA Common Metadata Repository CMR-STAC API",
            "description": "This is the landing page for CMR-STAC. Each provider link contains a "
            "STAC endpoint.",
        }
    )


async def _no_provider(request: Request) -> Response:
    name = request.path_params["provider"]
    if name == PROVIDER:
        return JSONResponse({"errors": ["Oops! Unable to find the requested resource."]}, 404)
    return JSONResponse({"errors": [f"Provider [{name}] not found."]}, 404)
