"""DLR's download service: EnMAP files over https, for a user name and password."""

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from geostack_dagster.sandbox.accounts import Login
from geostack_dagster.sandbox.faults import is_expired_by_fault
from geostack_dagster.sandbox.file_host import FileHost
from geostack_dagster.sandbox.places import DLR_HOST
from geostack_dagster.sandbox.service import Service, Setting

_REALM = 'Basic realm="EOC Geoservice"'
_PAGE = """<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">
<html><head><title>401 Unauthorized</title></head><body><h1>Unauthorized</h1>
<p>This server could not verify that you are authorized to access the document requested.</p>
</body></html>"""


def dlr_download(setting: Setting) -> Service:
    """Files behind a login."""
    user = setting.accounts.enmap_user
    return Service(
        hosts=(DLR_HOST,),
        app=_behind_login(FileHost(setting.vault, DLR_HOST), user),
        variables={"ENMAP_USERNAME": user.name, "ENMAP_PASSWORD": user.password},
    )


def _behind_login(app: ASGIApp, user: Login) -> ASGIApp:
    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if user.signs(Headers(scope=scope)) and not is_expired_by_fault(scope):
            await app(scope, receive, send)
            return
        refusal = HTMLResponse(_PAGE, 401, {"www-authenticate": _REALM})
        await refusal(scope, receive, send)

    return guard
