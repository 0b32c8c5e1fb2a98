"""Where a secret comes from; the only place that looks, in one order for every scheme.

1. an argument (`Settings(arguments=...)`),
2. the Dagster resource (`Settings(resource=...)`),
3. the environment,
4. files: dotenv (`.env` in the working directory, then the provider's own), then netrc for logins.

The first that is not empty counts. A value is looked up when a credential is fetched, never at
import, so definitions load without any secret.
"""

import hashlib
import hmac
import netrc
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import override

from geostack_dagster.errors import ConfigurationError

_DOTENV = Path(".env")
_PROCESS_KEY = secrets.token_bytes(16)


@dataclass(frozen=True, slots=True)
class Secret:
    """A value and the place it was found, for messages."""

    value: str = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Values given in code, before the environment is looked at; they never show in a repr.

    They do not travel: pickled settings arrive empty, so a worker process looks in its own
    environment and a task graph holds no secret.
    """

    arguments: Mapping[str, str] = field(default_factory=dict, repr=False)
    resource: Mapping[str, str] = field(default_factory=dict, repr=False)

    def find(self, name: str, *, dotenv: Path | None = None) -> Secret | None:
        """The value of a variable such as `EARTHDATA_TOKEN`; None if it is nowhere.

        `dotenv` is the provider's own settings file, looked at after `.env`.
        """
        for source, values in (
            ("argument", self.arguments),
            ("Dagster resource", self.resource),
            ("environment variable", os.environ),
        ):
            if values.get(name):
                return Secret(values[name], f"{source} {name}")
        for path in (_DOTENV, dotenv):
            if path is not None and (found := _from_dotenv(path.expanduser(), name)):
                return found
        return None

    def absent(self, *names: str) -> str:
        """Those of the variables that are nowhere, for a message: `A and B`."""
        return " and ".join(name for name in names if self.find(name) is None)

    @property
    def mark(self) -> str:
        """Empty if nothing was given, else a text that differs with what was given.

        Keyed with a secret of this process, so it tells nothing about the values.
        """
        given = sorted({**self.resource, **self.arguments}.items())
        if not given:
            return ""
        return "#" + hmac.new(_PROCESS_KEY, repr(given).encode(), hashlib.sha256).hexdigest()[:12]

    def login(self, host: str, *, user: str, password: str) -> tuple[Secret, Secret] | None:
        """User and password from two variables, else from netrc; None if neither has both.

        `NETRC` names the netrc file; its place by default is `~/.netrc`.
        """
        found = self.find(user), self.find(password)
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
        return _from_netrc(self.find("NETRC"), host)

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Travel empty."""
        return (Settings, ())


def _from_dotenv(path: Path, name: str) -> Secret | None:
    from dotenv import dotenv_values

    if not path.is_file():
        return None
    value = dotenv_values(path).get(name)
    return Secret(value, f"{name} in {path.name}") if value else None


def _from_netrc(stated: Secret | None, host: str) -> tuple[Secret, Secret] | None:
    path = Path(stated.value if stated else "~/.netrc").expanduser()
    try:
        entry = netrc.netrc(path).authenticators(host)
    except FileNotFoundError:
        return None
    except (netrc.NetrcParseError, OSError) as error:
        # The parser's message may hold the line, and with it a password.
        raise ConfigurationError(f"{path.name} is not a readable netrc file") from _bare(error)
    if entry is None or not entry[0] or not entry[2]:
        return None
    source = f"{path.name} entry {host}"
    return Secret(entry[0], source), Secret(entry[2], source)


def _bare(error: Exception) -> Exception:
    return type(error)("details withheld")
