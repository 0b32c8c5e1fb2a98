"""The one account of a sandbox at every service that asks for one; random, never kept."""

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from geostack_dagster.sandbox.keyring import Keyring
from geostack_dagster.sandbox.lifetime import Lifetime
from geostack_dagster.sandbox.s3 import BUCKETS, Access
from geostack_dagster.sandbox.tokens import TokenAuthority

# Characters that a client must encode in a form, and must not lose in a Basic header or netrc.
_AWKWARD = "&+%=/"


@dataclass(frozen=True, slots=True)
class Login:
    """A user, or an OAuth client, with its password."""

    name: str = field(repr=False)
    password: str = field(repr=False)

    def fits(self, name: str, password: str) -> bool:
        """Whether these are its name and password."""
        given, known = f"{name}\0{password}", f"{self.name}\0{self.password}"
        return hmac.compare_digest(given.encode(), known.encode())

    def signs(self, headers: Headers) -> bool | None:
        """Whether a request carries this login in a Basic header; None if it carries none."""
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, password = base64.b64decode(value).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return self.fits(name, password)


class Accounts:
    """What the twins know of the account, shared among those that honour the same credential."""

    def __init__(self, lifetime: Lifetime) -> None:
        realm = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE"
        self.copernicus = TokenAuthority(realm, lifetime)
        """Tokens of the Copernicus Data Space, Sentinel Hub included."""
        self.earthdata = TokenAuthority("https://urs.earthdata.nasa.gov", lifetime)
        self.copernicus_client = _login("sh-{}")
        """OAuth client of Sentinel Hub."""
        self.copernicus_user = _login("reader-{}@example.org")
        self.earthdata_user = _login("reader_{}")
        self.enmap_user = _login("reader-{}")
        self.eodata = Keyring(lifetime)
        self.eodata_pair = self.eodata.pair("eodata")
        self.amazon = Keyring(lifetime)
        self.amazon_pair = self.amazon.pair(
            *(name for name, held in BUCKETS.items() if held.access is Access.REQUESTER_PAYS)
        )


def _login(name: str) -> Login:
    return Login(name.format(secrets.token_hex(6)), secrets.token_urlsafe(18) + _AWKWARD)
