import base64

import pytest

from geostack_dagster.auth.basic import BasicSigner
from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import ConfigurationError, MissingCredentialError

HREF = canonical("https://download.geoservice.dlr.de/ENMAP/files/L2A/x-SPECTRAL_IMAGE_COG.TIF")
LOGIN = {"ENMAP_USERNAME": "ümlaut", "ENMAP_PASSWORD": "hush:hush"}


def signer(**arguments: str) -> BasicSigner:
    return BasicSigner(
        hosts=frozenset({"download.geoservice.dlr.de"}),
        user_variable="ENMAP_USERNAME",
        password_variable="ENMAP_PASSWORD",
        registration="Register somewhere.",
        settings=Settings(arguments=arguments),
        broker=Broker(),
    )


def test_the_header_is_that_of_rfc_7617():
    request = signer(**LOGIN).sign(HREF)
    kind, _, encoded = request.headers["Authorization"].partition(" ")
    assert kind == "Basic"
    assert base64.b64decode(encoded).decode() == "ümlaut:hush:hush"
    assert request.url == HREF
    assert encoded not in repr(request)


@pytest.mark.parametrize(
    "href",
    [
        "https://elsewhere.example/ENMAP/x.TIF",
        "http://download.geoservice.dlr.de/ENMAP/x.TIF",
        "https://download.geoservice.dlr.de.evil.example/x.TIF",
        "https://download.geoservice.dlr.de@evil.example/x.TIF",
        "s3://download.geoservice.dlr.de/x.TIF",
    ],
)
def test_the_password_goes_nowhere_else(href):
    with pytest.raises(ConfigurationError, match="ENMAP_USERNAME is for https on") as raised:
        signer(**LOGIN).sign(canonical(href))
    assert "hush" not in str(raised.value)


def test_without_a_login_both_variables_and_netrc_are_named():
    with pytest.raises(MissingCredentialError, match="ENMAP_USERNAME and ENMAP_PASSWORD") as raised:
        signer().sign(HREF)
    assert "netrc" in str(raised.value)
    assert "Register somewhere" in str(raised.value)


def test_netrc_is_the_last_place(monkeypatch, tmp_path):
    netrc = tmp_path / "my-netrc"
    netrc.write_text("machine download.geoservice.dlr.de login me password from-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    credential = signer().credential(HREF)
    assert credential.values == {"username": "me", "password": "from-netrc"}
    assert credential.source == "my-netrc entry download.geoservice.dlr.de"
    assert signer(**LOGIN).credential(HREF).values["password"] == "hush:hush"


def test_a_broken_netrc_is_named_without_its_content(monkeypatch, tmp_path):
    netrc = tmp_path / "my-netrc"
    netrc.write_text("machine x login y password hush-hush nonsense more\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with pytest.raises(ConfigurationError, match="my-netrc") as raised:
        signer().sign(HREF)
    assert "hush" not in str(raised.value) + str(raised.value.__cause__)


@pytest.mark.usefixtures("impatient")
def test_a_refused_password_is_not_tried_again():
    found = signer(**LOGIN)
    request = found.sign(HREF)
    assert not found.forget(HREF, request)
