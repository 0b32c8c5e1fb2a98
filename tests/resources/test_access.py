"""Credentials as Dagster resources: what is given wins, what is not given is looked for later."""

from types import SimpleNamespace

import dagster as dg
import pytest

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.providers import PROVIDERS
from geostack_dagster.resources.access import (
    RESOURCES,
    Access,
    Earthdata,
    OAuth2,
    S3Keys,
    access_resources,
    keys_of,
    settings_of,
)

SECRET = "do-not-show-me"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    for _, kind in RESOURCES.values():
        for variable in kind.variables().values():
            monkeypatch.delenv(variable, raising=False)


def in_a_step(resource: Access) -> Access:
    found = []

    @dg.asset
    def probe(access: dg.ResourceParam[object]) -> None:
        found.append(access)

    assert dg.materialize([probe], resources={"access": resource}).success
    return found[0]


def test_every_scheme_with_a_credential_has_a_resource():
    assert set(RESOURCES) == set(AuthScheme) - {AuthScheme.ANONYMOUS}
    assert set(access_resources()) == {key for key, _ in RESOURCES.values()}


@pytest.mark.parametrize(
    ("slug", "keys"),
    [
        ("planetary_computer", {"sas"}),
        ("earth_search", {"requester_pays"}),
        ("cdse", {"s3_keys", "oauth2"}),
        ("lpcloud", {"earthdata"}),
        ("earthaccess", {"earthdata"}),
        ("enmap", {"basic"}),
    ],
)
def test_a_pipeline_requires_the_resources_of_its_own_archive(slug, keys):
    assert keys_of(PROVIDERS[slug]) == keys


def test_a_run_starts_without_any_variable():
    assert in_a_step(OAuth2.from_environment()).settings().resource == {}


def test_variables_are_read_when_the_run_starts(monkeypatch):
    monkeypatch.setenv("SH_CLIENT_ID", "early")
    resource = OAuth2.from_environment()
    monkeypatch.setenv("SH_CLIENT_ID", "late")
    assert in_a_step(resource).settings().resource == {"SH_CLIENT_ID": "late"}


def test_what_a_resource_says_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("EARTHDATA_TOKEN", "of the environment")

    given = SimpleNamespace(earthdata=Earthdata(token=SECRET))
    settings = settings_of(PROVIDERS["lpcloud"], given)
    found = settings.find("EARTHDATA_TOKEN")
    assert found is not None
    assert (found.value, found.source) == (SECRET, "Dagster resource EARTHDATA_TOKEN")


def test_secrets_show_in_no_repr_and_no_config(monkeypatch):
    monkeypatch.setenv("SH_CLIENT_SECRET", SECRET)
    given = OAuth2(client_secret=SECRET)
    assert SECRET not in repr(given) + str(given) + repr(given.settings())
    by_name = OAuth2.from_environment()
    assert SECRET not in str(by_name._config_schema.default_value)  # what the UI shows


def test_all_of_an_archives_schemes_are_merged():
    given = SimpleNamespace(**{key: kind() for key, kind in RESOURCES.values()})
    given.oauth2, given.s3_keys = OAuth2(username="a"), S3Keys(access_key_id="b")
    found = settings_of(PROVIDERS["cdse"], given).resource
    assert found == {"CDSE_USERNAME": "a", "CDSE_ACCESS_KEY_ID": "b"}
