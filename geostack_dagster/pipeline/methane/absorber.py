"""The absorption model that a pipeline asks for."""

import tempfile
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from geostack_dagster import storage
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.absorption import Absorber, methane_surrogate, read_table
from geostack_dagster.pipeline.spec import MethaneSpec


def absorber_of(methane: MethaneSpec) -> Absorber:
    """The look-up table of the spec, else the surrogate that the project ships.

    Raises:
        ConfigurationError: If there is no such table.
        IntegrityError: If it is not a table.
    """
    return methane_surrogate() if methane.absorption is None else _table(methane.absorption)


@lru_cache(maxsize=4)
def _table(url: str) -> Absorber:
    try:
        content = storage.read_bytes(url)
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no absorption table at {url}; give the path or URL of a .npz, .nc, .h5 or "
            ".csv file in `methane.absorption`, or leave it out to use the surrogate"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePosixPath(urlsplit(url).path).name
        path.write_bytes(content)
        return read_table(path)
