"""What commands share of the terminal and the environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from geostack_dagster.errors import ConfigurationError

console = Console(stderr=True)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """A spinner on standard error while the block runs."""
    with console.status(f"{what} ..."):
        yield


def required(name: str) -> str:
    """Value of a variable that must be set.

    Raises:
        ConfigurationError: If it is not.
    """
    value = os.environ.get(name)
    if not value:
        raise ConfigurationError(f"set {name}; see the README's table of environment variables")
    return value
