"""Files of `earthaccess.open`, with a credential of ours and without its side effects.

`earthaccess.open` is `Store.open` of the session that the process is logged in with. Here a Store
is made around the token that our signer has. Three things that Store does are mended: it looks for
AWS with a request that carries the token, it ignores proxies, and it trusts the certificates that
were in place when aiohttp was imported.

A token is fixed when a file is opened: a read that outlives it fails. Files are read in blocks of
4 to 16 MiB.
"""

import ssl
from collections.abc import Mapping
from typing import Any, override
from urllib.request import getproxies, proxy_bypass

import aiohttp
import fsspec
import requests
from earthaccess import Auth, Store

from geostack_dagster.auth.region import in_region
from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.hrefs import Href, basename, locate, redact
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.stack.swath.layout import SwathFile
from geostack_dagster.stack.swath.seekable import open_seekable

_REGION = "us-west-2"
_REFUSED = (401, 403)
_LOOK_BYTES = 64


def open_with_earthaccess(href: Href, signer: Signer | None) -> SwathFile:
    """The file behind an https href, opened by earthaccess.

    Raises:
        ConfigurationError: If the href is not of https.
        CredentialError: If Earthdata refuses the token.
        AssetError: If there is no such file, or it is no HDF5.
        ServiceError: If the archive does not answer.
    """
    if locate(href).scheme != "https":
        raise ConfigurationError(f"earthaccess opens https here, not {href}; use another opener")
    token = _bearer(href, signer)
    auth = Auth()
    auth.token, auth.authenticated = {"access_token": token}, True
    try:
        (file,) = _Files(auth).open([str(href)], show_progress=False)
        start = file.read(_LOOK_BYTES)
        file.seek(0)
    except FileNotFoundError:
        raise AssetError(
            f"{basename(href)} does not exist; search again, it may have moved",
            status=404,
        ) from None
    except (aiohttp.ClientError, requests.RequestException, OSError, RuntimeError) as error:
        raise _translated(href, error) from None
    if start.lstrip()[:1] == b"<":
        raise RejectedCredentialError(
            f"{basename(href)}: Earthdata sent a login page to earthaccess instead of the file; "
            "the token has expired or was revoked"
        )
    return open_seekable(file, basename(href), note="read through earthaccess.open")


class _Files(Store):
    @override
    def _running_in_us_west_2(self) -> bool:
        return in_region(_REGION)

    @override
    def get_fsspec_session(self) -> Any:  # type: ignore[override]  # without the cache around it
        return fsspec.filesystem(
            "https",
            client_kwargs={
                "headers": {"Authorization": f"Bearer {self.auth.token['access_token']}"},
                # With it, a netrc entry would replace the token.
                "trust_env": False,
            },
            skip_instance_cache=True,  # it would keep the token
            **_surroundings(self.auth.system.edl_hostname),
        )


def _surroundings(host: str) -> Mapping[str, Any]:
    """Proxy and certificates as the environment has them now."""
    proxy = None if proxy_bypass(host) else getproxies().get("https")
    return {"ssl": ssl.create_default_context(), **({} if proxy is None else {"proxy": proxy})}


def _bearer(href: Href, signer: Signer | None) -> str:
    credential = None if signer is None else signer.credential(href)
    token = None if credential is None else credential.values.get("access_token")
    if token is None:
        raise MissingCredentialError(
            f"earthaccess needs an Earthdata token for {basename(href)}, and this signer has none: "
            "inside us-west-2 use the obstore opener, which takes S3 keys"
        )
    return token


def _translated(href: Href, error: Exception) -> Exception:
    name = f"{basename(href)} on {locate(href).host}"
    response = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(response, "status_code", None)
    if status in _REFUSED:
        return RejectedCredentialError(
            f"{name}: Earthdata answered {status} to earthaccess; has the token expired, and was "
            "the licence of this data accepted?"
        )
    said = redact(str(error))[:200] or type(error).__name__
    return ServiceError(f"{name}: earthaccess could not open it ({said})", status=status)
