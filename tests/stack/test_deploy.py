"""``deploy/`` before the real programs that read it, and before the schemas of what has none here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.stack.set_up import CUSTOM_RESOURCES, KUSTOMIZE_PROGRAM
from tests.deploy.files import DEPLOY, read
from tests.stack.collectors import config_options
from tests.stack.servers import programs

KUBERNETES = "1.33"
OPERATOR = "monitoring.coreos.com"
COMPOSE = read(DEPLOY / "compose.yaml")


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a program says, and its status."""
    return subprocess.run(
        [*map(str, command)],
        env=variables or None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def check_schema(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "check_jsonschema", *arguments)


class TestCompose:
    def test_is_valid_by_the_specification(self) -> None:
        done = check_schema("--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
        assert done.returncode == 0, done.stdout

    def test_gives_prometheus_a_configuration_that_it_takes(self, tmp_path: Path) -> None:
        """The folder is laid out as the volumes lay it out in the container."""
        for volume in COMPOSE["services"]["prometheus"]["volumes"]:
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                copy = tmp_path / Path(target).relative_to("/etc/prometheus")
                copy.parent.mkdir(exist_ok=True)
                shutil.copy(DEPLOY / source, copy)
        (tmp_path / "admin-api-key").write_text("key")
        done = run(
            programs() / "promtool", "check", "config", "--lint=all", "--lint-fatal", tmp_path / "prometheus.yaml"
        )
        assert done.returncode == 0, done.stdout
        assert "2 rule files found" in done.stdout

    def test_gives_the_collector_a_configuration_that_it_takes(self) -> None:
        service = COMPOSE["services"]["otel-collector"]
        files = [Path(each).name for each in service["command"] if each != "--config"]
        done = run(programs() / "otelcol", "validate", *config_options(*files), **service["environment"])
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module", params=["base", "scaled"])
def built(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Everything that ``kubectl apply -k`` would send."""
    done = run(programs() / KUSTOMIZE_PROGRAM, "build", DEPLOY / "kubernetes" / request.param)
    assert done.returncode == 0, done.stdout
    return list(yaml.safe_load_all(done.stdout))


def strict(schema: Any) -> Any:
    """The schema of a custom resource, which then takes no field that it does not know.

    Patterns that only Go can read are left out.
    """
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items() if not (key == "pattern" and "(?i)" in str(value))}
    if isinstance(schema.get("properties"), dict) and "x-kubernetes-preserve-unknown-fields" not in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def schema_of(kind: str) -> dict[str, Any]:
    """What the Prometheus operator takes of this kind."""
    definition = read(programs() / CUSTOM_RESOURCES / f"{OPERATOR}_{kind.lower()}s.yaml")
    schema: dict[str, Any] = strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def containers(built: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in built:
        if each["kind"] in ("DaemonSet", "Deployment", "StatefulSet"):
            (container,) = each["spec"]["template"]["spec"]["containers"]
            yield each["metadata"]["name"], container


class TestKubernetes:
    def test_is_valid_by_the_schemas_of_kubernetes(self, built: list[dict[str, Any]], tmp_path: Path) -> None:
        own = [each for each in built if not each["apiVersion"].startswith(OPERATOR)]
        (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(own))
        command = Path(sys.executable).with_name("kubernetes-validate")
        done = run(command, "--strict", "-k", KUBERNETES, tmp_path / "all.yaml")
        assert done.returncode == 0, done.stdout

    def test_is_valid_by_the_schemas_of_the_prometheus_operator(
        self, built: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        custom = [each for each in built if each["apiVersion"].startswith(OPERATOR)]
        assert {each["kind"] for each in custom} == {"PodMonitor", "PrometheusRule", "ServiceMonitor"}
        for each in custom:
            (tmp_path / "schema.json").write_text(json.dumps(schema_of(each["kind"])))
            (tmp_path / "one.json").write_text(json.dumps(each))
            done = check_schema("--schemafile", tmp_path / "schema.json", tmp_path / "one.json")
            assert done.returncode == 0, done.stdout

    def test_is_in_one_namespace_with_a_version_for_each_image(self, built: list[dict[str, Any]]) -> None:
        assert {each["metadata"]["namespace"] for each in built} == {"cycles"}
        assert all(":" in container["image"] for _, container in containers(built))

    def test_names_config_maps_by_what_is_in_them(self, built: list[dict[str, Any]]) -> None:
        made = {each["metadata"]["name"] for each in built if each["kind"] == "ConfigMap"}
        pods = [each["spec"]["template"]["spec"] for each in built if each["kind"] in ("DaemonSet", "StatefulSet")]
        used = {volume["configMap"]["name"] for pod in pods for volume in pod["volumes"] if "configMap" in volume}
        assert len(used) == 2
        assert used <= made

    def test_has_room_for_each_dashboard(self, built: list[dict[str, Any]]) -> None:
        """A ConfigMap takes 1 MiB."""
        boards = [each for each in built if each["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
        assert len(boards) == 5
        assert all(len(json.dumps(each)) < 2**20 for each in boards)

    def test_gives_the_gateway_a_configuration_that_it_takes(self, built: list[dict[str, Any]]) -> None:
        """The agent of ``scaled`` has a layer that the collector of these tests lacks the exporter for."""
        (gateway,) = [container for name, container in containers(built) if name == "otel-gateway"]
        files = [argument.rpartition("/")[2] for argument in gateway["args"]]
        variables = {each["name"]: each["value"] for each in gateway["env"]}
        done = run(programs() / "otelcol", "validate", *config_options(*files), **variables)
        assert done.returncode == 0, done.stdout
