"""Copernicus Data Space: the token service, and downloads for its tokens."""

from starlette.types import ASGIApp

from geostack_dagster.sandbox.bearer import COPERNICUS_DOWNLOAD, guarded
from geostack_dagster.sandbox.file_host import FileHost
from geostack_dagster.sandbox.oauth2_server import OAuth2Server
from geostack_dagster.sandbox.places import CDSE_HOST
from geostack_dagster.sandbox.service import Service, Setting
from geostack_dagster.sandbox.switch import by_host

_DOWNLOADS = (CDSE_HOST, "zipper.dataspace.copernicus.eu")  # the second name is the older one


def copernicus_identity(setting: Setting) -> Service:
    """Tokens for Sentinel Hub's client and for the user, and the files that the user's open."""
    accounts = setting.accounts
    server = OAuth2Server(
        realm="/auth/realms/CDSE",
        authority=accounts.copernicus,
        client=accounts.copernicus_client,
        public_client="cdse-public",
        user=accounts.copernicus_user,
    )
    files = FileHost(setting.vault, CDSE_HOST)
    downloads = guarded(files, accounts.copernicus, COPERNICUS_DOWNLOAD)
    apps: dict[str, ASGIApp] = {"identity.dataspace.copernicus.eu": server.app()}
    apps |= dict.fromkeys(_DOWNLOADS, downloads)
    client, user = accounts.copernicus_client, accounts.copernicus_user
    return Service(
        hosts=tuple(apps),
        app=by_host(apps),
        variables={
            "SH_CLIENT_ID": client.name,
            "SH_CLIENT_SECRET": client.password,
            "CDSE_USERNAME": user.name,
            "CDSE_PASSWORD": user.password,
        },
    )
