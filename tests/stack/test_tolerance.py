"""The budget for what cannot be read, in every loader: its boundary, its notes, and the pixels."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.domain.quality import Quality
from geostack_dagster.engine import Engine
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    CredentialError,
    OverBudgetError,
    ServiceError,
)
from geostack_dagster.stack.load import open_stack
from geostack_dagster.stack.loaders import LOADERS
from geostack_dagster.stack.quality import quality_of
from geostack_dagster.stack.tolerance import Budget, Failure, Tolerance

ENGINE = Engine(threads=4)
ALL = (slice(0, 512), slice(0, 512))


@pytest.fixture(params=LOADERS)
def loader(request):
    return request.param


@pytest.fixture
def content(kit):
    return kit.tiff(kit.unique(512, 512))


def tolerance_of(recipe, ratio):
    return Tolerance(grid=recipe.grid, budget=Budget.of(recipe, ratio))


def opened(recipe, signer, loader, tolerance, **chunks):
    return open_stack(recipe, signer=signer, loader=loader, chunks=chunks, tolerance=tolerance)


def failure(number, *, passing=False, status=404):
    error = (
        ServiceError("busy", retry_after_s=float(number), status=503)
        if passing
        else AssetError("gone", status=status)
    )
    return Failure.of((f"item{number}", "B04"), ALL, error)


WRONG = {
    "gone": (lambda archive, path, content: f"{archive.root}{path}", "http-404", 404),
    "truncated": (
        lambda archive, path, content: archive.put(path, content[: len(content) // 2]),
        None,
        None,
    ),
    "not a TIFF": (
        lambda archive, path, content: archive.put(path, b"no raster" * 100),
        "not-a-tiff",
        None,
    ),
    "a web page": (
        lambda archive, path, content: archive.put(path, b"<!DOCTYPE html><html></html>"),
        None,
        None,
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_read_stays_unset_and_is_noted(kit, archive, content, loader, kind):
    make, reason, status = WRONG[kind]
    good = archive.put("/open/good.tif", content)
    bad = make(archive, "/open/bad.tif", content)
    recipe = kit.recipe([kit.item(assets={"B04": good, "B08": bad})], bands=("B04", "B08"))
    tolerance = tolerance_of(recipe, 0.5)
    stack = opened(recipe, kit.signer(), loader, tolerance, y=512, x=512).compute()

    np.testing.assert_array_equal(stack.B04[0], kit.unique(512, 512))
    assert not stack.B08.any()
    (found,) = tolerance.failures(ENGINE)
    assert (found.item, found.band, found.window) == ("A", "B08", ALL)
    assert found.attempts >= 1
    assert not found.passing
    if reason is not None:
        assert (found.reason, found.status) == (reason, status)


def test_a_busy_archive_is_a_failure_that_passes(kit, archive, content, loader):
    good = archive.put("/open/good.tif", content)
    bad = archive.put("/open/busy.tif", content)
    archive.permanent["/open/busy.tif"] = (503, {"Retry-After": "120"}, b"")
    recipe = kit.recipe([kit.item(assets={"B04": good, "B08": bad})], bands=("B04", "B08"))
    tolerance = tolerance_of(recipe, 0.5)
    opened(recipe, kit.signer(), loader, tolerance, y=512, x=512).compute()
    (found,) = tolerance.failures(ENGINE)
    assert (found.reason, found.status, found.passing) == ("http-503", 503, True)


def test_blocks_fail_alone(kit, archive, loader):
    """A tile that is damaged takes its block with it and leaves the others."""
    pixels = kit.unique(512, 512)
    content = bytearray(kit.tiff(pixels))
    content[-2000:-1000] = bytes(1000)
    href = archive.put("/open/damaged.tif", bytes(content))
    recipe = kit.recipe([kit.item(assets={"B04": href})])
    tolerance = tolerance_of(recipe, 1.0)
    stack = opened(recipe, kit.signer(), loader, tolerance, y=128, x=128).compute()
    failures = tolerance.failures(ENGINE)
    assert 0 < len(failures) < 16
    expected = pixels.copy()
    for one in failures:
        assert one.reason == "corrupt-tile"
        expected[one.window] = 0
    np.testing.assert_array_equal(stack.B04[0], expected)


def test_another_item_fills_what_one_cannot_give(kit, archive, loader):
    pixels = kit.unique(512, 512)
    good = archive.put("/open/good.tif", kit.tiff(pixels))
    items = [
        kit.item("A", {"B04": f"{archive.root}/open/gone.tif"}),
        kit.item("B", {"B04": good}, when="2024-06-03T10:30:20Z"),
    ]
    recipe = kit.recipe(items)
    tolerance = tolerance_of(recipe, 0.5)
    stack = opened(recipe, kit.signer(), loader, tolerance).compute()
    np.testing.assert_array_equal(stack.B04[0], pixels)
    assert [one.item for one in tolerance.failures(ENGINE)] == ["A"]


def test_one_more_than_allowed_is_an_error_that_names_them(kit, archive, content, loader):
    good = archive.put("/open/good.tif", content)
    items = [
        kit.item("A", {"B04": f"{archive.root}/open/one.tif", "B08": good}),
        kit.item(
            "B", {"B04": f"{archive.root}/open/two.tif", "B08": good}, when="2024-06-05T10:30:00Z"
        ),
    ]
    recipe = kit.recipe(items, bands=("B04", "B08"))
    for ratio, allowed in ((0.25, 1), (0.49, 1)):
        tolerance = tolerance_of(recipe, ratio)
        assert tolerance.budget == Budget(assets=4, allowed=allowed)
        with pytest.raises(
            OverBudgetError, match=r"2 of 4 .*A B04 \(http-404\), B B04 \(http-404\)"
        ):
            opened(recipe, kit.signer(), loader, tolerance).compute()
    tolerance = tolerance_of(recipe, 0.5)
    opened(recipe, kit.signer(), loader, tolerance).compute()
    assert len(tolerance.failures(ENGINE)) == 2


def test_nothing_is_forgiven_about_credentials(kit, archive, content, loader):
    href = archive.put("/closed/no.tif", content)
    recipe = kit.recipe([kit.item(assets={"B04": href})])
    tolerance = tolerance_of(recipe, 1.0)
    with pytest.raises(CredentialError):
        opened(recipe, kit.signer(), loader, tolerance).compute()
    assert {one.reason for one in tolerance.failures(ENGINE)} == {"no-credential"}


def test_a_header_that_places_the_file_and_cannot_be_read(kit, archive, content, loader):
    bare = {"proj:shape": None, "proj:transform": None}
    good = archive.put("/open/good.tif", content)
    items = [
        kit.item("A", {"B04": f"{archive.root}/open/gone.tif"}, asset=bare),
        kit.item("B", {"B04": good}, when="2024-06-05T10:30:00Z"),
    ]
    recipe = kit.recipe(items)
    tolerance = tolerance_of(recipe, 0.5)
    stack = opened(recipe, kit.signer(), loader, tolerance).compute()
    assert stack.sizes["time"] == 1
    (found,) = tolerance.failures(ENGINE)
    assert (found.item, found.window, found.reason) == ("A", ALL, "http-404")
    with pytest.raises(AssetError):
        opened(recipe, kit.signer(), loader, tolerance_of(recipe, 0.0))


@given(st.integers(1, 2000), st.integers(0, 100))
def test_the_boundary_of_a_budget_is_exact(assets, percent):
    budget = Budget.share(assets, percent / 100)
    assert budget.allowed <= Fraction(percent, 100) * assets < budget.allowed + 1
    allowed = [failure(number) for number in range(budget.allowed)]
    budget.check(allowed)
    with pytest.raises(OverBudgetError):
        budget.check([*allowed, failure(-1)])


def test_waiting_may_mend_what_is_over_the_budget_by_services_only():
    budget = Budget(assets=10, allowed=2)
    with pytest.raises(ServiceError) as busy:
        budget.check([failure(1), failure(2), failure(30, passing=True)])
    assert (busy.value.retry_after_s, busy.value.status) == (30.0, 503)
    with pytest.raises(OverBudgetError):
        budget.check([failure(1), failure(2), failure(3), failure(30, passing=True)])


def test_a_wrong_ask_is_no_soft_error(kit):
    tolerance = tolerance_of(kit.recipe([kit.item()]), 1.0)

    def ask():
        raise ConfigurationError("band 7 was asked for; the file has 1")

    with pytest.raises(ConfigurationError):
        tolerance.read([("A", "B04")], ALL, ask)
    assert tolerance.failures(ENGINE) == []


class TestQuality:
    def test_flags_are_of_the_values_and_classes(self, kit, archive):
        from geostack_dagster.providers.provider import ClearClasses
        from geostack_dagster.stack.recipe import MaskPolicy

        red, near = kit.unique(512, 512), kit.unique(512, 512)
        red[:, :100], near[:, :100] = 0, 0
        near[:50] = 0
        classes = np.full((512, 512), 4, np.uint8)
        classes[:, :100] = 0
        classes[200:, 300:] = 9
        hrefs = {
            name: archive.put(f"/open/{name}.tif", kit.tiff(pixels))
            for name, pixels in (("B04", red), ("B08", near), ("SCL", classes))
        }
        keep = ClearClasses(band="SCL", keep=(4, 5), buffer_around=())
        recipe = kit.recipe(
            [kit.item(assets=hrefs)], bands=("B04", "B08", "SCL"), mask=MaskPolicy(classes=keep)
        )
        stack = open_stack(recipe, signer=kit.signer(), chunks={"y": 200, "x": 300})
        expected = np.zeros((512, 512), np.uint8)
        expected[:50] = Quality.INCOMPLETE
        expected[:, :100] = Quality.NO_OBSERVATION
        expected[200:, 300:] = Quality.MASKED
        found = quality_of(stack, recipe)
        np.testing.assert_array_equal(found[0], expected)
        assert found.dtype == np.uint8

    @given(st.data())
    def test_any_number_of_bands_folds_to_the_same_flags(self, data):
        import dask.array as da
        import xarray as xr

        from geostack_dagster.stack.encoding import Encoding
        from geostack_dagster.stack.recipe import TargetBand

        count = data.draw(st.integers(1, 20))
        bands = [
            TargetBand(
                name=f"b{number}",
                encoding=Encoding(dtype="uint8", fill=0),
                resampling="nearest",
                long_name="",
            )
            for number in range(count)
        ]
        values = np.array(
            data.draw(
                st.lists(
                    st.lists(st.sampled_from([0, 3]), min_size=6, max_size=6),
                    min_size=count,
                    max_size=count,
                )
            ),
            np.uint8,
        ).reshape(count, 1, 2, 3)
        stack = xr.Dataset(
            {
                band.name: (("time", "y", "x"), da.from_array(layer))
                for band, layer in zip(bands, values, strict=True)
            }
        )
        recipe = type("Recipe", (), {"bands": tuple(bands), "mask": None})()
        unset = (values == 0).sum(axis=0)
        expected = np.where(
            unset == count, Quality.NO_OBSERVATION, np.where(unset > 0, Quality.INCOMPLETE, 0)
        )
        np.testing.assert_array_equal(quality_of(stack, recipe), expected)
