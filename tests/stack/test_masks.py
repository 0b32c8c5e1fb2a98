from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geostack_dagster.domain.grid import Grid
from geostack_dagster.providers import PLANETARY_COMPUTER
from geostack_dagster.providers.provider import ClearClasses
from geostack_dagster.stack.masks import clear_mask, halo_px, spacing_of
from geostack_dagster.stack.recipe import MaskPolicy

CLASSES = ClearClasses(band="SCL", keep=(4, 5), buffer_around=(9,))
TEN = (10.0, 10.0)


def policy(buffer_m):
    return MaskPolicy(classes=CLASSES, buffer_m=buffer_m)


def brute_force(classes, buffer_m, spacing):
    rows, columns = np.indices(classes.shape)
    clear = np.isin(classes, CLASSES.keep)
    for row, column in zip(*np.nonzero(classes == 9), strict=True):
        near = np.hypot((rows - row) * spacing[0], (columns - column) * spacing[1])
        clear &= near > buffer_m * (1 + 1e-9)
    return clear


@given(
    arrays(np.uint8, (17, 13), elements=st.sampled_from([0, 4, 5, 4, 5, 4, 9])),
    st.sampled_from([0.0, 9.0, 10.0, 25.0, 60.0]),
    st.sampled_from([TEN, (20.0, 20.0), (10.0, 7.0)]),
)
def test_it_is_the_disk_around_every_cloud(classes, buffer_m, spacing):
    found = clear_mask(classes, policy(buffer_m), spacing_m=spacing)
    if buffer_m == 0:
        np.testing.assert_array_equal(found, np.isin(classes, CLASSES.keep))
    else:
        np.testing.assert_array_equal(found, brute_force(classes, buffer_m, spacing))


def test_a_pixel_at_exactly_the_radius_is_dropped():
    classes = np.full((1, 9), 4, np.uint8)
    classes[0, 0] = 9
    found = clear_mask(classes, policy(60.0), spacing_m=TEN)
    assert found[0].tolist() == [False] * 7 + [True] * 2


def test_days_do_not_see_one_another():
    classes = np.full((2, 3, 3), 4, np.uint8)
    classes[0, 1, 1] = 9
    found = clear_mask(classes, policy(30.0), spacing_m=TEN)
    assert not found[0].any()
    assert found[1].all()


@pytest.mark.parametrize("spacing", [TEN, (20.0, 20.0), (10.0, 7.0)])
@pytest.mark.parametrize("buffer_m", [0.0, 25.0, 60.0])
def test_a_block_with_its_halo_gives_what_the_whole_gives(spacing, buffer_m):
    classes = np.random.default_rng(7).choice([4, 5, 9], (90, 80), p=[0.6, 0.38, 0.02])
    whole = clear_mask(classes, policy(buffer_m), spacing_m=spacing)
    rows, columns = halo_px(policy(buffer_m), spacing)
    block = classes[30 - rows : 60 + rows, 20 - columns : 50 + columns]
    found = clear_mask(block, policy(buffer_m), spacing_m=spacing)
    core = found[rows : rows + 30, columns : columns + 30]
    np.testing.assert_array_equal(core, whole[30:60, 20:50])


def test_sentinel2_classes():
    clear = PLANETARY_COMPUTER.collection("sentinel-2-l2a").clear
    classes = np.arange(12, dtype=np.uint8).reshape(1, 12)
    found = clear_mask(classes, MaskPolicy(classes=clear), spacing_m=TEN)
    assert np.nonzero(found[0])[0].tolist() == [4, 5, 6, 7, 11]


def test_spacing_of_grids():
    metres = Grid(crs="EPSG:32632", resolution=20, left=0, top=0, width=5, height=5)
    assert spacing_of(metres) == (20.0, 20.0)
    degrees = replace(metres, crs="EPSG:4326", resolution=0.001, top=60.0025)
    along_y, along_x = spacing_of(degrees)
    assert along_y == pytest.approx(111.32)
    assert along_x == pytest.approx(55.66, rel=1e-3)
    feet = replace(metres, crs="EPSG:2225", resolution=100)
    assert spacing_of(feet)[0] == pytest.approx(30.48, rel=1e-4)
