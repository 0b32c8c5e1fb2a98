import pytest

from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.s3_keys import S3KeysSigner
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import ConfigurationError, MissingCredentialError

HREF = canonical("s3://eodata/Sentinel-2/MSI/L2A/2024/11/07/x.SAFE/T32VKR_B02_10m.jp2")
KEYS = {"CDSE_ACCESS_KEY_ID": "AKID", "CDSE_SECRET_ACCESS_KEY": "hush"}


def signer(**arguments: str) -> S3KeysSigner:
    return S3KeysSigner(
        endpoint="https://eodata.dataspace.copernicus.eu",
        region="default",
        id_variable="CDSE_ACCESS_KEY_ID",
        secret_variable="CDSE_SECRET_ACCESS_KEY",
        registration="Make keys.",
        settings=Settings(arguments=arguments),
        broker=Broker(),
    )


def test_the_address_is_path_style_at_the_archives_own_endpoint():
    request = signer(**KEYS).sign(HREF)
    assert request.url == HREF.replace("s3://", "https://eodata.dataspace.copernicus.eu/")
    assert "/default/s3/aws4_request" in request.headers["Authorization"]
    assert "hush" not in str(request.headers)
    assert signer(**KEYS).scope(HREF) == "https://eodata.dataspace.copernicus.eu"


def test_keys_for_aws_are_never_sent_there(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    with pytest.raises(MissingCredentialError, match="CDSE_ACCESS_KEY_ID") as raised:
        signer().sign(HREF)
    assert "Make keys" in str(raised.value)


def test_other_addresses_are_refused():
    with pytest.raises(ConfigurationError, match="CDSE_ACCESS_KEY_ID"):
        signer(**KEYS).sign(canonical("https://eodata.dataspace.copernicus.eu/eodata/x"))


def test_the_keys_are_given_to_object_store_clients():
    assert signer(**KEYS).credential(HREF).values == {
        "access_key_id": "AKID",
        "secret_access_key": "hush",
    }
