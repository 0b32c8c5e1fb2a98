"""What hides the ground is told from what does not, by spectra with known reflectance."""

import numpy as np
import pytest

from geostack_dagster.inference.screening import SUNLIGHT, screen

WAVELENGTHS = np.array([449.0, 998.0, 1252.0, 1379.0, 1652.0, 2388.0])
SHAPE = (20, 24)
# reflectance at 450, 1000, 1250, 1380, 1650 nm
DESERT = (0.18, 0.48, 0.55, 0.001, 0.58)
CROP = (0.07, 0.45, 0.40, 0.001, 0.20)
SNOW = (0.80, 0.70, 0.40, 0.010, 0.08)
CLOUD = (0.45, 0.55, 0.50, 0.020, 0.40)
CIRRUS = (0.20, 0.45, 0.42, 0.150, 0.35)
WATER = (0.08, 0.02, 0.01, 0.000, 0.01)


def _scene(ground, zenith=50.0):
    """Ground everywhere and another kind of pixel in the middle."""
    sun = np.array([SUNLIGHT[nm] for nm in (450, 1000, 1250, 1380, 1650)])
    light = np.full((*SHAPE, WAVELENGTHS.size), 0.5)
    light[..., :5] = np.array(ground) * sun * np.cos(np.radians(zenith)) / np.pi
    return light, np.full(SHAPE, zenith)


def _patched(kind):
    light, zenith = _scene(DESERT)
    light[8:12, 8:12] = _scene(kind)[0][0, 0]
    return screen(light, WAVELENGTHS, zenith)


@pytest.mark.parametrize("ground", [DESERT, CROP, SNOW])
def test_ground_is_not_hidden(ground):
    for zenith in (10.0, 50.0, 70.0):
        assert not screen(*_order(_scene(ground, zenith))).hidden.any()


def _order(scene):
    light, zenith = scene
    return light, WAVELENGTHS, zenith


@pytest.mark.parametrize(
    ("kind", "name", "margin"), [(CLOUD, "cloud", 2), (CIRRUS, "cirrus", 0), (WATER, "water", 0)]
)
def test_what_hides_the_ground_is_found(kind, name, margin):
    found = _patched(kind)
    assert found.hidden[8:12, 8:12].all()
    assert not found.hidden[: 8 - margin].any()
    assert found.facts[name] > 0


def test_a_flare_is_brighter_than_sunlit_ground():
    light, zenith = _scene(DESERT)
    light[5, 5, 5] = 2.0
    found = screen(light, WAVELENGTHS, zenith)
    assert found.facts["flare"] == 25
    assert found.hidden[5, 5]


def test_a_single_white_pixel_is_a_roof():
    light, zenith = _scene(DESERT)
    light[5, 5] = _scene(CLOUD)[0][0, 0]
    assert not screen(light, WAVELENGTHS, zenith).hidden.any()


def test_without_a_band_its_test_is_left_out_and_said():
    light, zenith = _scene(CLOUD)
    found = screen(light[..., 5:], WAVELENGTHS[5:], zenith)
    assert found.facts == {"cloud": None, "cirrus": None, "water": None, "flare": 0}
    assert not found.hidden.any()


def test_what_was_not_measured_is_not_called_anything():
    light, zenith = _scene(CLOUD)
    light[:] = np.nan
    assert not screen(light, WAVELENGTHS, zenith).hidden.any()
