import jax
import numpy as np
import pytest

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.stack.handoff import aligned, coordinates_of, to_jax
from geostack_dagster.stack.load import decode, open_stack


@pytest.fixture
def recipe(kit, write):
    red, nir, other = (kit.unique(512, 512, first=n) for n in (1, 7, 2000))
    red[0, 0] = 0
    classes = kit.unique(512, 512, dtype="uint8")
    items = [
        kit.item(
            "A",
            {"B04": write("r", red), "B08": write("n", nir), "SCL": write("s", classes)},
        ),
        kit.item("B", {"B04": write("o", other)}, when="2024-06-09T10:30:00Z"),
    ]
    return kit.recipe(items, bands=("B04", "B08", "SCL"))


def test_it_equals_the_decoded_stack(recipe, signer):
    found = to_jax(recipe, signer=signer)
    assert isinstance(found, jax.Array)
    assert (found.shape, found.dtype) == ((2, 3, 512, 512), np.float32)
    stack = decode(open_stack(recipe, signer=signer)).compute()
    wanted = stack[["B04", "B08", "SCL"]].to_dataarray("band").transpose("time", "band", "y", "x")
    np.testing.assert_array_equal(np.asarray(found), wanted)
    assert np.isnan(found[0, 0, 0, 0])
    assert np.isnan(found[1, 1]).all()


def test_codes_as_they_are(recipe, signer):
    found = to_jax(recipe, bands=["B08", "B04"], decoded=False, signer=signer)
    assert found.dtype == np.uint16
    stack = open_stack(recipe, signer=signer)
    np.testing.assert_array_equal(np.asarray(found[:, 1]), stack.B04.compute())
    with pytest.raises(ConfigurationError, match=r"several dtypes \(uint16, uint8\)"):
        to_jax(recipe, decoded=False, signer=signer)
    with pytest.raises(ConfigurationError, match="no band B12"):
        to_jax(recipe, bands=["B12"], signer=signer)


def test_coordinates_without_reading(recipe):
    found = coordinates_of(recipe, ["B04", "SCL"])
    assert {name: found[name].size for name in ("time", "band", "y", "x")} == {
        "time": 2,
        "band": 2,
        "y": 512,
        "x": 512,
    }
    assert found["spatial_ref"].attrs["crs_wkt"]


def test_jax_uses_the_buffer_that_was_filled(kit, signer):
    target = aligned((3, 50, 70), np.dtype(np.float32))
    target[:] = 1.5
    assert target.ctypes.data % 64 == 0
    assert jax.device_put(target, may_alias=True).unsafe_buffer_pointer() == target.ctypes.data
    assert to_jax(kit.recipe([]), signer=signer).shape == (0, 1, 512, 512)
