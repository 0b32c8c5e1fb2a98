"""The files of `deploy/`: they parse, agree with one another, and name only keys that are known.

The keys of the charts are those of their published values files; a typo would be ignored silently.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import validate_config
from dagster._core.instance.config import dagster_instance_config_schema

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = {"postgres", "code", "webserver", "daemon", "scheduler", "worker"}

type Tree = dict[str, "Tree | None"]

IMAGE: Tree = {"repository": None, "tag": None, "pullPolicy": None}
DAGSTER: Tree = {
    "global": {"postgresqlSecretName": None},
    "generatePostgresqlPasswordSecret": None,
    "postgresql": {
        "enabled": None,
        "postgresqlHost": None,
        "postgresqlUsername": None,
        "postgresqlDatabase": None,
        "postgresqlScheme": None,
        "service": {"port": None},
    },
    "dagsterWebserver": {"replicaCount": None, "image": IMAGE},
    "dagsterDaemon": {
        "enabled": None,
        "image": IMAGE,
        "runCoordinator": {
            "enabled": None,
            "type": None,
            "config": {
                "queuedRunCoordinator": {"maxConcurrentRuns": None, "tagConcurrencyLimits": None}
            },
        },
        "runMonitoring": {"enabled": None, "freeSlotsAfterRunEndSeconds": None},
        "runRetries": {"enabled": None, "maxRetries": None},
    },
    "runLauncher": {
        "type": None,
        "config": {"k8sRunLauncher": {"envSecrets": None, "runK8sConfig": None}},
    },
    "dagster-user-deployments": {"enabled": None, "deployments": None},
    "telemetry": {"enabled": None},
}
DEPLOYMENT = {
    "name", "image", "codeServerArgs", "port", "env", "envSecrets", "volumes", "volumeMounts",
    "includeConfigInLaunchedRuns",
}  # fmt: skip
DASK: Tree = {
    "scheduler": {"image": IMAGE, "servicePort": None},
    "worker": {
        "image": IMAGE,
        "replicas": None,
        "threads_per_worker": None,
        "env": None,
        "resources": None,
    },
    "jupyter": {"enabled": None},
}


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return found


def unknown(found: Any, known: Tree | None, path: str = "") -> list[str]:
    """Keys of a document that a tree does not name."""
    if known is None or not isinstance(found, dict):
        return []
    return [
        where
        for key, value in found.items()
        for where in (
            unknown(value, known[key], f"{path}.{key}") if key in known else [f"{path}.{key}"]
        )
    ]


@pytest.mark.parametrize(("name", "known"), [("dagster-values", DAGSTER), ("dask-values", DASK)])
def test_values_name_known_keys(name: str, known: Tree):
    assert unknown(load(f"{name}.yaml"), known) == []


def test_one_image_runs_everywhere():
    dagster, dask = load("dagster-values.yaml"), load("dask-values.yaml")
    (code,) = dagster["dagster-user-deployments"]["deployments"]
    assert set(code) <= DEPLOYMENT
    charts = [dagster["dagsterWebserver"], dagster["dagsterDaemon"], code]
    charts += [dask["scheduler"], dask["worker"]]
    (image,) = {f"{one['image']['repository']}:{one['image']['tag']}" for one in charts}
    services = load("compose.yaml")["services"]
    assert set(services) == SERVICES
    assert {one["image"] for name, one in services.items() if name != "postgres"} == {image}
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert image == f"geostack:{version[1]}"


def test_services_wait_for_services_that_are_there():
    services = load("compose.yaml")["services"]
    for one in services.values():
        for name, how in one.get("depends_on", {}).items():
            assert how["condition"] in ("service_started", "service_healthy")
            assert how["condition"] == "service_started" or "healthcheck" in services[name]


def test_ports_are_published_on_loopback_only():
    services = load("compose.yaml")["services"]
    ports = [port for one in services.values() for port in one.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_accounts_go_to_those_who_read_and_write_bytes():
    services = load("compose.yaml")["services"]
    assert {name for name, one in services.items() if "env_file" in one} == {"code", "worker"}


def test_no_secret_is_written_down():
    for path in DEPLOY.rglob("*.yaml"):
        for line in path.read_text().splitlines():
            value = re.search(r"(?i)password: *(.+)", line)
            assert value is None or value[1].startswith(("$", "{env")), f"{path.name}: {line}"


def test_variables_of_the_instance_are_those_of_the_containers():
    asked = set(re.findall(r"env: (\w+)", (DEPLOY / "dagster.yaml").read_text()))
    services = load("compose.yaml")["services"]
    for name in ("code", "webserver", "daemon"):
        assert asked <= services[name]["environment"].keys()


def test_the_instance_is_one_that_dagster_accepts():
    found = validate_config(dagster_instance_config_schema(), load("dagster.yaml"))
    assert found.success, found.errors
    assert load("dagster.yaml")["run_monitoring"]["free_slots_after_run_end_seconds"] > 0


def test_the_image_installs_what_is_locked_and_names_no_index():
    text = (DEPLOY / "Dockerfile").read_text()
    assert "--constraints requirements.lock '.[deploy]'" in text
    assert "://" not in text
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in " ".join(copied).split():
        assert f"!{name.split('/')[0]}" in ignored
