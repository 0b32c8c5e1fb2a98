"""`geostack doctor`: all is well with the sandbox's account, and what is spoiled is named."""

import json

import pytest
from typer.testing import CliRunner

from geostack_dagster.auth.resolution import Settings
from geostack_dagster.cli.app import app
from geostack_dagster.cli.doctor import Finding, Verdict, examine
from geostack_dagster.providers import PROVIDERS

NEEDED = {
    "CDSE_ACCESS_KEY_ID": "cdse",
    "CDSE_SECRET_ACCESS_KEY": "cdse",
    "SH_CLIENT_ID": "sentinel_hub",
    "SH_CLIENT_SECRET": "sentinel_hub",
    "EARTHDATA_USERNAME": "lpcloud",
    "EARTHDATA_PASSWORD": "lpcloud",
    "ENMAP_USERNAME": "enmap",
    "ENMAP_PASSWORD": "enmap",
}
OPTIONAL = {"CDSE_USERNAME": "cdse", "CDSE_PASSWORD": "cdse"}
CHECKS = (
    *("dns and tls", "landing page", "one item", "credential found"),
    *("first bytes", "licence", "region", "clock"),
)


def ill(slug: str, settings: Settings, verdict: Verdict = Verdict.FAILURE) -> list[Finding]:
    return [one for one in examine(PROVIDERS[slug], settings) if one.verdict is verdict]


def fresh(**arguments: str) -> Settings:
    """Settings that share no credential with what this process has already fetched."""
    return Settings(arguments={"GEOSTACK_TEST": repr(arguments), **arguments})


def test_all_is_well_with_an_account_everywhere(in_sandbox):
    result = CliRunner().invoke(app, ["doctor", "--json"])

    assert result.exit_code == 0, result.output
    findings = json.loads(result.stdout)
    assert {one["verdict"] for one in findings} == {"ok"}
    for slug in PROVIDERS:
        checks = [one["check"] for one in findings if one["provider"] == slug]
        assert tuple(dict.fromkeys(checks)) == CHECKS
    for secret in in_sandbox.account.values():
        assert secret not in result.output


@pytest.mark.parametrize(("variable", "slug"), NEEDED.items())
def test_a_missing_credential_is_named_and_no_other(in_sandbox, monkeypatch, variable, slug):
    monkeypatch.delenv(variable)

    failures = ill(slug, fresh())

    assert failures
    said = " ".join(one.message for one in failures)
    assert variable in said
    assert not [other for other in (NEEDED | OPTIONAL) if other != variable and other in said]


@pytest.mark.parametrize(("variable", "slug"), NEEDED.items())
def test_a_wrong_credential_is_named_and_not_shown(in_sandbox, variable, slug):
    failures = ill(slug, fresh(**{variable: "not-the-right-one"}))

    assert failures
    said = " ".join(f"{one.message} {one.remedy}" for one in failures)
    assert f"argument {variable}" in said
    assert "not-the-right-one" not in said


@pytest.mark.parametrize(("variable", "slug"), OPTIONAL.items())
def test_a_credential_of_another_way_is_only_a_warning(in_sandbox, monkeypatch, variable, slug):
    monkeypatch.delenv(variable)
    assert ill(slug, fresh()) == []
    (warning,) = ill(slug, fresh(), Verdict.WARNING)
    assert variable in warning.message


def test_an_archive_that_is_down_fails_where_it_is_down(in_sandbox):
    in_sandbox.control.fault(host="*element84*", path="/v1/search", status=503)
    (failure,) = ill("earth_search", fresh())
    assert (failure.check, "503" in failure.message) == ("one item", True)
    result = CliRunner().invoke(app, ["doctor", "earth_search"])
    assert result.exit_code == 1
    assert "503" in result.output


def test_a_login_page_is_not_a_raster(in_sandbox):
    in_sandbox.control.fault(host="*sentinel-cogs*", path="*.tif", html=True)
    (failure,) = ill("earth_search", fresh())
    assert failure.check == "first bytes"


def test_an_unknown_provider_is_told_with_the_known_ones(in_sandbox):
    result = CliRunner().invoke(app, ["doctor", "earth_serch"])
    assert result.exit_code == 2
    assert "earth_search" in result.output
