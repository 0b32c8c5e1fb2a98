"""An Earthdata token from earthaccess's own login, for those who keep their login where it looks.

`earthaccess.login` keeps one session for the whole process, which every later call of the library
then uses. Here a login of its own is made instead, and only the token is taken from it; the
`session` strategy takes the token of the session that the user made, interactively perhaps.
"""

from collections.abc import Mapping
from typing import Any

from geostack_dagster.auth.expiry import given_expiry
from geostack_dagster.auth.signer import Credential
from geostack_dagster.domain.hrefs import locate, redact
from geostack_dagster.errors import (
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)

STRATEGIES = ("netrc", "environment", "session")
_SHOWN = 200


def earthaccess_credential(strategy: str, login_url: str) -> Credential:
    """The token that earthaccess finds or fetches.

    Args:
        strategy: `netrc` or `environment`, as `earthaccess.login` has them, or `session` for what
            `earthaccess.login` was given in this process.
        login_url: Earthdata Login.

    Raises:
        ConfigurationError: If there is no such strategy.
        MissingCredentialError: If earthaccess finds no login there.
        RejectedCredentialError: If Earthdata Login refuses it.
        ServiceError: If Earthdata Login does not answer.
    """
    if strategy not in STRATEGIES:
        raise ConfigurationError(
            f"earthaccess has no login strategy {strategy!r} for us; use {', '.join(STRATEGIES)}"
        )
    token = _session_token() if strategy == "session" else _fetched_token(strategy, login_url)
    value = str(token["access_token"])
    return Credential(
        values={"access_token": value},
        expires_at=given_expiry(value, token.get("expiration_date")),
        source=f"earthaccess {strategy} login",
        is_renewed_early=False,
    )


def _session_token() -> Mapping[str, Any]:
    import earthaccess

    session = earthaccess.__auth__
    if not session.authenticated or session.token is None:
        raise MissingCredentialError(
            "earthaccess is not logged in in this process; call earthaccess.login() first"
        )
    token: Mapping[str, Any] = session.token
    return token


def _fetched_token(strategy: str, login_url: str) -> Mapping[str, Any]:
    import requests
    from earthaccess import PROD, Auth
    from earthaccess.exceptions import LoginAttemptFailure, LoginStrategyUnavailable
    from earthaccess.system import EDLHostname, System

    system = System(
        cmr_base_url=PROD.cmr_base_url,
        status_url=PROD.status_url,
        status_api_url=PROD.status_api_url,
        edl_hostname=EDLHostname(locate(login_url).host),
    )
    auth = Auth()
    try:
        auth.login(strategy=strategy, system=system)
    except LoginStrategyUnavailable as error:
        # Its cause may quote a line of the netrc file, and with it a password.
        raise MissingCredentialError(f"earthaccess finds no login: {_said(error)}") from None
    except LoginAttemptFailure as error:
        raise _refusal(strategy, _said(error)) from None
    except (requests.RequestException, KeyError, ValueError) as error:
        raise ServiceError(f"Earthdata Login did not answer with a token: {_said(error)}") from None
    if auth.token is None:
        raise MissingCredentialError(f"earthaccess finds no login by its {strategy} strategy")
    return auth.token


def _refusal(strategy: str, said: str) -> Exception:
    """A refused login says why in JSON; whatever else comes is the service's own trouble."""
    if '"error"' in said:
        return RejectedCredentialError(
            f"Earthdata Login refused the login that earthaccess found ({strategy}): {said}"
        )
    return ServiceError(f"Earthdata Login failed: {said}")


def _said(error: Exception) -> str:
    text = " ".join(" ".join(map(str, error.args)).split())
    return redact(text)[:_SHOWN]
