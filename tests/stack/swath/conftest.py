"""Files in sensor geometry whose every value is known, and a server that counts bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.stack.reader.conftest import fault, running_server, server

__all__ = ["fault", "running_server", "server"]


def unique(shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray:
    """Values that tell which element they are."""
    return (np.arange(np.prod(shape)).reshape(shape) % 100_003).astype(dtype)


@pytest.fixture
def hdf(tmp_path: Path) -> Callable[..., Path]:
    """Writes datasets by path: arrays, or (array, options of `create_dataset`)."""

    def write(name: str = "a.nc", *, userblock: int = 0, **datasets: Any) -> Path:
        path = tmp_path / name
        with h5py.File(path, "w", userblock_size=userblock) as file:
            for where, given in datasets.items():
                data, options = given if isinstance(given, tuple) else (given, {})
                file.create_dataset(where.replace("__", "/"), data=data, **options)
        return path

    return write
