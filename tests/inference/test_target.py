"""Absorption models and target spectra: units, guards, hashes, formats."""

import dataclasses
import pickle

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose

from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference import absorption
from geostack_dagster.inference.absorption import (
    SURROGATE_DIGEST,
    LookUpTable,
    methane_surrogate,
    read_envi_table,
    read_table,
    spectral_response,
)
from geostack_dagster.inference.target import NARROW_NM, WIDE_NM, Fit, methane_target
from tests.inference import scenes

COLUMNS = (0.0, 500.0, 1000.0, 2000.0)


def _table(columns=COLUMNS):
    grid = np.linspace(2100, 2500, 4001)
    line = 2e-5 * np.exp(-(((grid - 2300) / 3) ** 2))
    spectra = (1 + 1e-3 * (grid - 2300)) * np.exp(-np.outer(columns, line))
    return LookUpTable(wavelength_nm=grid, columns_ppm_m=np.array(columns), spectra=spectra)


def test_surrogate_is_the_one_that_was_validated(monkeypatch):
    assert methane_surrogate().digest == SURROGATE_DIGEST
    monkeypatch.setattr(absorption, "_LINES", (*absorption._LINES[:-1], (2468, 25.0, 0.049)))
    with pytest.raises(IntegrityError, match="refit"):
        methane_surrogate()


def test_surrogate_saturates_as_the_radiative_transfer_does():
    wavelength = np.array([2348.0])
    weak = methane_surrogate().unit_absorption(wavelength)[0]
    for column, ratio in ((2e3, 0.990), (4e3, 0.973), (8e3, 0.943), (16e3, 0.895)):
        depth = methane_surrogate().optical_depth(wavelength, np.array([column]))[0, 0]
        assert_allclose(depth / (weak * column), ratio, atol=0.006)


def test_target_is_negative_and_changes_with_the_range():
    wavelength, fwhm = scenes.bands()
    weak, strong = (
        methane_target(
            methane_surrogate(), wavelength, fwhm, Fit(columns_ppm_m=columns)
        ).unit_absorption
        for columns in ((0.0, 500.0, 1000.0), (0.0, 8000.0, 16000.0))
    )
    assert (weak < 0).all()
    assert_allclose(weak.min(), -methane_surrogate().unit_absorption(wavelength).max(), rtol=0.02)
    assert 0.85 < (strong / weak).mean() < 0.95


def test_quadratic_fit_at_zero_is_the_weak_limit():
    wavelength, fwhm = scenes.bands()
    fit = Fit(columns_ppm_m=(0.0, 1000.0, 2000.0), kind="quadratic")
    target = methane_target(methane_surrogate(), wavelength, fwhm, fit)
    assert_allclose(
        target.unit_absorption, -methane_surrogate().unit_absorption(wavelength), rtol=2e-3
    )


def test_response_sums_to_one_on_an_uneven_grid():
    rng = np.random.default_rng(0)
    grid = 2100 + np.cumsum(rng.uniform(0.02, 0.2, 4000))
    centre, width = np.array([2200.0, 2300.0]), np.array([8.0, 10.0])
    weights = spectral_response(grid, centre, width)
    assert_allclose(weights.sum(axis=0), 1)
    # weighted by spacing, the mean wavelength of a band is its centre
    assert_allclose(weights.T @ grid, centre, atol=0.05)


def test_bands_beyond_the_table_are_flagged_not_silently_zero():
    wavelength = np.array([1000.0, 2103.0, 2300.0, 2495.0])
    target = methane_target(_table(), wavelength, np.full(4, 8.6), Fit(columns_ppm_m=COLUMNS))
    assert target.covered.tolist() == [False, False, True, False]
    assert target.unit_absorption[~target.covered].tolist() == [0, 0, 0]
    assert target.bands(((900.0, 2500.0),)).tolist() == [2]


def test_a_fit_beyond_the_table_is_refused():
    with pytest.raises(ConfigurationError, match="0 to 2000 ppm m"):
        methane_target(_table(), np.array([2300.0]), np.array([8.6]), Fit())


def test_windows():
    target = methane_target(methane_surrogate(), *scenes.bands(400, 2493))
    narrow, wide = target.bands(NARROW_NM), target.bands(WIDE_NM)
    assert target.wavelength_nm[narrow].min() >= 2137
    assert wide.size > 3 * narrow.size
    assert not np.any((target.wavelength_nm[wide] > 1275) & (target.wavelength_nm[wide] < 1321))
    with pytest.raises(ConfigurationError, match="no band lies"):
        target.bands(((3000.0, 3100.0),))


def test_everything_that_decides_a_target_is_in_its_hash():
    wavelength, fwhm = scenes.bands()
    surrogate = methane_surrogate()
    base = methane_target(surrogate, wavelength, fwhm)
    shifted = wavelength + 0.1
    others = [
        methane_target(surrogate, shifted, fwhm),
        methane_target(surrogate, wavelength, fwhm + 0.1),
        methane_target(surrogate, wavelength, fwhm, Fit(columns_ppm_m=(0.0, 500.0, 1000.0))),
        methane_target(surrogate, wavelength, fwhm, Fit(kind="quadratic")),
        methane_target(dataclasses.replace(surrogate, saturation_ppm_m=1.4e5), wavelength, fwhm),
    ]
    digests = [base.digest, *(other.digest for other in others)]
    assert len(set(digests)) == len(digests)
    assert methane_target(surrogate, wavelength, fwhm).digest == base.digest
    assert pickle.loads(pickle.dumps(base)).digest == base.digest


@pytest.mark.parametrize("columns", [(0.0, 1.0), (-1.0, 1.0, 2.0), (0.0, 2.0, 1.0)])
def test_a_fit_without_slope_is_refused(columns):
    with pytest.raises(ConfigurationError, match="make no fit"):
        Fit(columns_ppm_m=columns)


def test_bad_bands_are_refused():
    with pytest.raises(IntegrityError, match="FWHM"):
        methane_target(methane_surrogate(), np.array([2300.0, np.nan]), np.array([8.0, 8.0]))


def test_tables_read_back_whatever_the_format(tmp_path):
    table = _table()
    np.savez(
        tmp_path / "t.npz",
        wavelength_nm=table.wavelength_nm,
        columns_ppm_m=table.columns_ppm_m,
        spectra=table.spectra,
    )
    header = "wavelength_nm," + ",".join(f"{c:g}" for c in COLUMNS)
    rows = np.column_stack([table.wavelength_nm, table.spectra.T])
    np.savetxt(tmp_path / "t.csv", rows, delimiter=",", header=header, comments="", fmt="%.17g")
    for dtype, code, order in (("<f8", 5, 0), (">f8", 5, 1)):
        table.spectra.T.astype(dtype).tofile(tmp_path / "t.lut")
        wavelengths = ",\n ".join(f"{w:.17g}" for w in table.wavelength_nm)
        (tmp_path / "t.hdr").write_text(
            f"ENVI\nsamples = 4\nlines = 1\nbands = {table.wavelength_nm.size}\n"
            f"data type = {code}\ninterleave = bsq\nbyte order = {order}\n"
            f"wavelength units = Nanometers\nwavelength = {{\n {wavelengths}}}\n"
        )
        assert read_envi_table(tmp_path / "t.hdr", COLUMNS).digest == table.digest
    assert read_table(tmp_path / "t.npz").digest == table.digest
    assert read_table(tmp_path / "t.csv").digest == table.digest
    for suffix in ("nc", "h5", "hdf5"):
        with h5py.File(tmp_path / f"t.{suffix}", "w") as file:
            file["wavelength_nm"] = table.wavelength_nm
            file["columns_ppm_m"] = table.columns_ppm_m.astype(">f8")
            file.create_dataset("spectra", data=table.spectra, chunks=True, compression="gzip")
        assert read_table(tmp_path / f"t.{suffix}").digest == table.digest
        with h5py.File(tmp_path / f"t.{suffix}", "a") as file:
            del file["spectra"]
        with pytest.raises(IntegrityError, match="has no spectra"):
            read_table(tmp_path / f"t.{suffix}")
    (tmp_path / "classic.nc").write_bytes(b"CDF\x01" + bytes(60))
    with pytest.raises(IntegrityError, match=r"classic\.nc is not HDF5"):
        read_table(tmp_path / "classic.nc")
    with pytest.raises(ConfigurationError, match=r"t\.lut"):
        read_table(tmp_path / "t.lut")
    with pytest.raises(IntegrityError, match="4 samples"):
        read_envi_table(tmp_path / "t.hdr", COLUMNS[:3])


def test_a_table_that_contradicts_itself_is_refused():
    table = _table()
    with pytest.raises(IntegrityError, match="cannot hold"):
        dataclasses.replace(table, spectra=table.spectra[:, 1:])
    with pytest.raises(IntegrityError, match="increase"):
        dataclasses.replace(table, columns_ppm_m=table.columns_ppm_m[::-1].copy())
