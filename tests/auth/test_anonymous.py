import pytest

from geostack_dagster.auth.anonymous import AnonymousSigner
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import ConfigurationError

SIGNER = AnonymousSigner(lambda bucket: "eu-central-1" if "euro" in bucket else "us-west-2")


@pytest.mark.parametrize(
    ("href", "url"),
    [
        (
            "s3://sentinel-cogs/a/B04.tif",
            "https://sentinel-cogs.s3.us-west-2.amazonaws.com/a/B04.tif",
        ),
        ("s3://euro/a b/é.tif", "https://euro.s3.eu-central-1.amazonaws.com/a%20b/%C3%A9.tif"),
        ("s3://b/a+b(1)=~.tif", "https://b.s3.us-west-2.amazonaws.com/a%2Bb%281%29%3D~.tif"),
        ("s3://with.dots/k", "https://s3.us-west-2.amazonaws.com/with.dots/k"),
        ("https://host/a/B04.tif", "https://host/a/B04.tif"),
        ("/data/B04.tif", "/data/B04.tif"),
        ("file:///data/B04.tif", "file:///data/B04.tif"),
    ],
)
def test_open_addresses(href, url):
    request = SIGNER.sign(canonical(href))
    assert request.url == url
    assert request.headers == {}
    assert not SIGNER.forget(canonical(href), request)
    assert SIGNER.scope(canonical(href)) == ""
    assert SIGNER.credential(canonical(href)) is None


def test_other_schemes_are_named():
    with pytest.raises(ConfigurationError, match="gopher"):
        SIGNER.sign(canonical("gopher://host/x"))
