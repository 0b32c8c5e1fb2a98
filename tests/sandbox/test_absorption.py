"""What methane takes from light in the world, against tables that others computed."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from geostack_dagster.inference.absorption import read_envi_table
from geostack_dagster.sandbox.absorption import AIR_MASS_OF_TABLE, MethaneBands
from geostack_dagster.sandbox.instruments import emit_bands, enmap_bands
from geostack_dagster.sandbox.msi import Msi
from geostack_dagster.sandbox.spectra import COVERS, VARIANTS, WAVELENGTHS_NM, spectra, variant

COLUMNS = np.array([500.0, 2000.0, 4000.0, 8000.0, 16000.0])
NODES = (0.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)
PPM_M_PER_MOL_M2 = 22414.0


def depths(bands: MethaneBands, columns: np.ndarray) -> np.ndarray:
    """Optical depth of the strong band at the geometry of the tables."""
    strong = (bands.wavelength_nm > 2150) & (bands.wavelength_nm < 2450)
    passed = bands.transmittance(columns, AIR_MASS_OF_TABLE)
    return -np.log(passed[:, strong[bands.absorbing]])


def test_bands_meet_a_radiative_transfer_table(shared_fixtures):
    table = read_envi_table(shared_fixtures / "spectra" / "mag1c_ch4.hdr", NODES)
    for bands in (emit_bands(), enmap_bands()):
        strong = (bands.wavelength_nm > 2150) & (bands.wavelength_nm < 2450)
        radiance = table.radiance(
            bands.wavelength_nm[strong], bands.fwhm_nm[strong], np.array([0.0, *COLUMNS])
        )
        expected = -np.log(radiance[1:] / radiance[0])
        found = depths(bands, COLUMNS)
        for ours, theirs in zip(found, expected, strict=True):
            assert np.corrcoef(ours, theirs)[0, 1] > 0.98
            assert_allclose((ours @ theirs) / (theirs @ theirs), 1, atol=0.04)
        saturation = (found / COLUMNS[:, None]).sum(axis=1)
        wanted = (expected / COLUMNS[:, None]).sum(axis=1)
        assert_allclose(saturation / saturation[0], wanted / wanted[0], atol=0.02)


def test_absorption_grows_with_column_and_air_mass():
    bands = emit_bands()
    assert_allclose(bands.transmittance(np.zeros(1), 2.5), 1, rtol=1e-12)
    thin, thick = (bands.transmittance(np.array([4000.0]), air) for air in (2.0, 3.0))
    assert (thick <= thin).all()
    weak = -np.log(bands.transmittance(np.array([10.0]), 3.0))
    assert_allclose(weak, -np.log(bands.transmittance(np.array([15.0]), 2.0)), rtol=1e-6)
    reached = bands.wavelength_nm[bands.absorbing]
    assert reached[0] > 1560
    assert reached[-1] == bands.wavelength_nm[-1]


@pytest.mark.parametrize(("satellite", "key"), [("S2A", "m_s2a"), ("S2B", "m_s2b")])
def test_sentinel2_meets_a_line_by_line_table(shared_fixtures, satellite, key):
    """Relative change of B12 / B11, for columns up to those of a strong plume."""
    with np.load(shared_fixtures / "spectra" / "openearth_s2_ch4_lut_v5.npz") as table:
        amounts, air_masses, changes = table["delta_omega"], table["amf"], table[key]
    msi = Msi(satellite)
    chosen = (amounts >= 0.1) & (amounts <= 1.0)
    for air, change in zip(air_masses, changes, strict=True):
        if not 2 <= air <= 3.5:
            continue
        column = amounts[chosen] * PPM_M_PER_MOL_M2
        ratio = msi.transmittance(WAVELENGTHS_NM["B12"], column, air) / msi.transmittance(
            WAVELENGTHS_NM["B11"], column, air
        )
        assert_allclose(ratio - 1, change[chosen], rtol=0.06)


def test_emit_bands_are_those_of_its_table(shared_fixtures):
    known = np.loadtxt(shared_fixtures / "spectra" / "EMIT_Wavelengths_20220817.txt")
    centre, width = 1000 * known[::-1, 1], 1000 * known[::-1, 2]
    used = (centre >= 381) & (centre < 2493)
    bands = emit_bands()
    assert_allclose(bands.wavelength_nm, centre[used], atol=0.011)
    assert_allclose(bands.fwhm_nm, width[used], atol=0.006)


def test_spectra_keep_what_sentinel2_sees():
    """More wavelengths change nothing at Sentinel-2's own, nor do variants of covers."""
    from datetime import date

    centres = np.array(list(WAVELENGTHS_NM.values()))
    for day in (date(2024, 6, 3), date(2024, 12, 3)):
        found = spectra(centres, day, south=False)
        for cover, spectrum in zip(COVERS, found, strict=True):
            if cover.green is None:
                assert_allclose(spectrum, cover.reflectance, rtol=1e-12)
            if cover.name in VARIANTS:
                assert_allclose(variant(cover.name, spectrum, centres), spectrum, rtol=1e-3)
    fine = np.arange(380.0, 2500.0, 5.0)
    assert (spectra(fine, date(2024, 6, 3), south=True) > 0).all()
