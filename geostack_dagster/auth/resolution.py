"""Where a secret comes from; the only place that looks, in one order for every scheme.

1. an argument (`Settings(arguments=...)`),
2. the Dagster resource (`Settings(resource=...)`),
3. the environment,
4. files: dotenv (`.env` in the working directory, then the provider's own), then netrc for logins.

The first that is not empty counts. A value is looked up when a credential is fetched, never at
import, so definitions load without any secret.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import override

_DOTENV = Path(".env")


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
