import pickle

from geostack_dagster.auth.resolution import Settings

NAME = "EARTHDATA_TOKEN"


def test_the_order_is_argument_resource_environment_dotenv(monkeypatch, tmp_path):
    own = tmp_path / "own.env"
    steps = [
        (lambda: own.write_text(f"{NAME}=own\n"), "own", "EARTHDATA_TOKEN in own.env"),
        (lambda: (tmp_path / ".env").write_text(f"{NAME}=dotenv\n"), "dotenv", f"{NAME} in .env"),
        (lambda: monkeypatch.setenv(NAME, "env"), "env", f"environment variable {NAME}"),
    ]
    for put, value, source in steps:
        put()
        found = Settings().find(NAME, dotenv=own)
        assert (found.value, found.source) == (value, source)
    resource = {"resource": {NAME: "resource"}}
    assert Settings(**resource).find(NAME).value == "resource"
    assert Settings(arguments={NAME: "argument"}, **resource).find(NAME).source.startswith("arg")


def test_empty_counts_as_absent(monkeypatch):
    monkeypatch.setenv(NAME, "")
    assert Settings(arguments={NAME: ""}, resource={NAME: ""}).find(NAME) is None


def test_settings_travel_empty_and_show_nothing():
    settings = Settings(arguments={NAME: "hush"}, resource={NAME: "hush"})
    assert "hush" not in repr(settings) + repr(settings.find(NAME))
    assert pickle.loads(pickle.dumps(settings)) == Settings()
    assert b"hush" not in pickle.dumps(settings)
