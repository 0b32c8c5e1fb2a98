"""NASA LP DAAC in the cloud: its download gateway and the content network behind it."""

from starlette.types import ASGIApp, Receive, Scope, Send

from geostack_dagster.sandbox.egress import Egress
from geostack_dagster.sandbox.places import LP_PROTECTED, LP_PUBLIC
from geostack_dagster.sandbox.s3 import S3Twin
from geostack_dagster.sandbox.service import Service, Setting
from geostack_dagster.sandbox.services.amazon_s3 import amazon_service
from geostack_dagster.sandbox.switch import by_host
from geostack_dagster.sandbox.tokens import TokenAuthority

_GATES = ("data.lpdaac.earthdatacloud.nasa.gov", "lpdaac.earthdata.nasa.gov")
_NETWORK_HOST = "d1nklfio7vscoe.cloudfront.net"
_ORIGIN = "/s3-2d2df3a34830d5223d1e9547cd713408"


def lpdaac(setting: Setting) -> Service:
    """The gateway under both names, and the content network for the URLs that it signs."""
    gate = Egress(
        vault=setting.vault,
        tokens=setting.accounts.earthdata,
        sessions=TokenAuthority(_GATES[0], setting.lifetime),
        keys=setting.accounts.amazon,
        closed=LP_PROTECTED,
        open=LP_PUBLIC,
        network=f"https://{_NETWORK_HOST}{_ORIGIN}",
    ).app()
    apps: dict[str, ASGIApp] = dict.fromkeys(_GATES, gate)
    apps[_NETWORK_HOST] = _from_origin(S3Twin(setting.vault, amazon_service(setting)))
    return Service(hosts=tuple(apps), app=by_host(apps))


def _from_origin(app: ASGIApp) -> ASGIApp:
    """The content network: passes a request on to the bucket's host that its path names."""

    async def forward(scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope["raw_path"].decode("latin-1").removeprefix(f"{_ORIGIN}/")
        host, _, rest = raw.partition("/")
        headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        inner = {
            **scope,
            "headers": [*headers, (b"host", host.encode())],
            "raw_path": f"/{rest}".encode("latin-1"),
            "path": "/" + scope["path"].removeprefix(f"{_ORIGIN}/").partition("/")[2],
        }
        await app(inner, receive, send)

    return forward
