"""Annotations of `inference` are executed, and JAX refuses silent promotion of dtype or rank."""

from collections.abc import Iterator

import jax
import pytest
from jaxtyping import install_import_hook

# Before any test module imports a kernel: what is imported already stays unchecked.
# An int is a float here, as PEP 484 says.
install_import_hook(
    "geostack_dagster.inference",
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """Mixed dtypes and broadcast ranks raise inside the test."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
