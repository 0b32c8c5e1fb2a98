"""Index maps against spyndex, the reference implementation of awesome-spectral-indices."""

import jax.numpy as jnp
import numpy as np
import pytest
import spyndex

from geostack_dagster.domain.indices import INDICES
from geostack_dagster.inference.indices import compute

SYMBOLS = {"blue": "B", "green": "G", "red": "R", "nir": "N", "swir16": "S1", "swir22": "S2"}
CONSTANTS = {"g": 2.5, "C1": 6.0, "C2": 7.5}
THEIRS = {name: name for name in INDICES} | {"BSI": "BI"}
SOIL = {"EVI": 1.0, "SAVI": 0.5}


@pytest.mark.parametrize("name", sorted(INDICES))
@pytest.mark.parametrize("leading", [(), (3,)])
def test_float64_maps_equal_spyndex(name: str, leading: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    bands = {role: rng.uniform(0.02, 0.6, (*leading, 40, 30)) for role in SYMBOLS}
    found = compute([name], bands, dtype=jnp.float64)[name]
    expected = spyndex.computeIndex(
        index=[THEIRS[name]],
        params={SYMBOLS[role]: values for role, values in bands.items()}
        | CONSTANTS
        | {"L": SOIL.get(name, 1.0)},
    )
    assert found.dtype == jnp.float64
    kept = np.isfinite(np.asarray(found))
    assert kept.mean() > 0.98  # EVI's denominator passes through zero for a few of these
    np.testing.assert_allclose(np.asarray(found)[kept], np.asarray(expected)[kept], rtol=1e-6)
