"""One file through every opener, at the real hosts: protected, and kept somewhere else."""

from pathlib import Path
from typing import Any

import earthaccess
import numpy as np
import pytest

from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.earthdata import EarthdataSigner
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.domain.hrefs import Href, canonical
from geostack_dagster.domain.swath import OPENERS
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
)
from geostack_dagster.stack.swath.opening import open_file
from tests.nasa import DATA, STORE, TOKEN, Nasa, serving
from tests.stack.swath.conftest import unique

PATH = "/lp-prod-protected/EMITL1BRAD.001/E/EMIT_L1B_RAD_001_E.nc"
FILE = canonical(f"https://{DATA}{PATH}")


@pytest.fixture
def archive(tmp_path: Path, hdf: Any, monkeypatch: pytest.MonkeyPatch):
    path = hdf(
        radiance=unique((20, 30, 8)),
        location__glt_x=(unique((9, 9), "<i4"), {"chunks": (4, 4), "compression": "gzip"}),
    )
    with serving(tmp_path) as nasa:
        nasa.files[PATH] = path.read_bytes()
        for name, value in nasa.hosts.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GEOSTACK_AWS_REGION", "none")
        yield nasa


def signer(token: str = TOKEN) -> EarthdataSigner:
    return EarthdataSigner(settings=Settings(arguments={"EARTHDATA_TOKEN": token}), broker=Broker())


@pytest.mark.parametrize("opener", OPENERS)
def test_every_opener_reads_the_same_and_keeps_the_token_at_home(archive: Nasa, opener):
    file = open_file(FILE, signer(), opener=opener)
    window = ((0, 20), (3, 9), (2, 5))
    np.testing.assert_array_equal(file.read("radiance", window), unique((20, 30, 8))[:, 3:9, 2:5])
    np.testing.assert_array_equal(file.read("location/glt_x"), unique((9, 9), "<i4"))
    assert file.bytes_read > 0
    file.close()
    elsewhere = archive.asked(STORE)
    assert elsewhere
    assert not any("authorization" in asked.headers for asked in elsewhere)
    assert archive.hosts.strangers == []  # not even the address at which AWS describes its machines
    assert ("earthaccess" in " ".join(file.notes)) == (opener == "earthaccess")


@pytest.mark.parametrize("opener", OPENERS)
def test_a_refused_token_is_said(archive: Nasa, opener):
    with pytest.raises(RejectedCredentialError, match="login page") as raised:
        open_file(FILE, signer("dead-token"), opener=opener)
    assert "dead-token" not in str(raised.value)


@pytest.mark.parametrize("opener", OPENERS)
def test_a_missing_file_is_named(archive: Nasa, opener):
    gone = canonical(FILE.replace("_RAD_", "_GONE_"))
    with pytest.raises(AssetError, match="EMIT_L1B_GONE_001_E"):
        open_file(gone, signer(), opener=opener)


def test_earthaccess_is_left_as_it_was(archive: Nasa):
    open_file(FILE, signer(), opener="earthaccess").close()
    assert not earthaccess.__auth__.authenticated
    assert earthaccess.__store__ is None


def test_what_earthaccess_cannot_open_is_refused(archive: Nasa):
    with pytest.raises(ConfigurationError, match="opens https"):
        open_file(Href("s3://lp-prod-protected/x.nc"), signer(), opener="earthaccess")
    with pytest.raises(MissingCredentialError, match="needs an Earthdata token"):
        open_file(FILE, None, opener="earthaccess")


def test_files_that_the_user_opened_can_be_read(archive: Nasa, monkeypatch):
    """`earthaccess.login` and `earthaccess.open` as NASA's tutorials write them."""
    from geostack_dagster.stack.swath.earthaccess_files import _Files
    from geostack_dagster.stack.swath.seekable import open_seekable

    session = earthaccess.Auth()
    session.token, session.authenticated = {"access_token": TOKEN}, True
    monkeypatch.setattr(earthaccess, "__store__", _Files(session), raising=False)
    (opened,) = earthaccess.open([str(FILE)])
    file = open_seekable(opened, "EMIT_L1B_RAD_001_E.nc")
    np.testing.assert_array_equal(
        file.read("radiance", ((4, 6), (0, 30), (0, 8))), unique((20, 30, 8))[4:6]
    )
    file.close()
