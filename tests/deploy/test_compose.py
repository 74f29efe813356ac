"""That the names, ports and paths in ``deploy/compose.yaml`` and in the files that it mounts fit together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cycles_otel.cli.arguments import parser
from cycles_otel.cli.demo.tenants import TENANTS
from cycles_otel.exporter.config_file import read_targets
from cycles_otel.exporter.pace import Pace
from tests.deploy.files import DEPLOY, REPOSITORY, addresses, read, variables_of_collector, versions_of_stack

COMPOSE: dict[str, Any] = read(DEPLOY / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROMETHEUS = read(DEPLOY / "prometheus" / "prometheus.yaml")
TEMPO = read(DEPLOY / "tempo" / "tempo.yaml")
DATA_SOURCES = {
    each["uid"]: each for each in read(DEPLOY / "grafana/provisioning/datasources/cycles.yaml")["datasources"]
}
PROVIDER = read(DEPLOY / "grafana/provisioning/dashboards/cycles.yaml")["providers"][0]
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*")

each_service = pytest.mark.parametrize("name", SERVICES)


def listens(name: str) -> set[int]:
    """The ports that a service says it listens on."""
    return {int(port) for port in SERVICES[name].get("expose", [])}


def mounts(name: str) -> dict[str, str]:
    """What a service mounts, by the path in the container."""
    return {target: source for source, target in (volume.split(":")[:2] for volume in SERVICES[name]["volumes"])}


def healthcheck(name: str) -> str:
    return " ".join(SERVICES[name]["healthcheck"]["test"])


class TestServices:
    @each_service
    def test_is_looked_after(self, name: str) -> None:
        check = SERVICES[name]["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries"} <= set(check)

    @each_service
    def test_asks_itself_on_a_port_that_it_listens_on(self, name: str) -> None:
        asked = {int(port) for port in re.findall(r"(?:127\.0\.0\.1|localhost):(\d+)", healthcheck(name))}
        assert asked <= listens(name)

    @each_service
    def test_waits_for_services_that_there_are_until_they_are_well(self, name: str) -> None:
        for other, how in SERVICES[name].get("depends_on", {}).items():
            assert other in SERVICES
            assert how == {"condition": "service_healthy"}

    @each_service
    def test_shows_its_ports_to_this_machine_alone(self, name: str) -> None:
        for address, here, there in (port.split(":") for port in SERVICES[name].get("ports", [])):
            assert address == "127.0.0.1"
            assert here == there
            assert int(there) in listens(name)

    def test_have_ports_of_their_own_on_this_machine(self) -> None:
        published = [port for service in SERVICES.values() for port in service.get("ports", [])]
        assert len(published) == len(set(published))

    @each_service
    def test_mounts_what_is_in_the_repository_or_declared(self, name: str) -> None:
        for source in mounts(name).values() if "volumes" in SERVICES[name] else ():
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]

    def test_use_every_volume(self) -> None:
        used = {source for name in SERVICES if "volumes" in SERVICES[name] for source in mounts(name).values()}
        assert set(COMPOSE["volumes"]) <= used

    @each_service
    def test_has_a_version(self, name: str) -> None:
        built = SERVICES[name].get("build", {})
        if "dockerfile_inline" in built:
            images = re.findall(r"^FROM (\S+)", built["dockerfile_inline"], re.MULTILINE)
        elif built:
            images = re.findall(r"^FROM (\S+)", (REPOSITORY / built["dockerfile"]).read_text(), re.MULTILINE)
        else:
            images = [SERVICES[name]["image"]]
        assert images
        assert all(PINNED.fullmatch(image) for image in images), images

    def test_are_the_versions_that_the_tests_run(self) -> None:
        versions = versions_of_stack()
        # A release 3.16.0 of Prometheus is the version 0.316.0 of its module.
        major, minor = divmod(int(versions["PROMETHEUS"].split(".")[1]), 100)
        assert SERVICES["prometheus"]["image"] == f"prom/prometheus:v{major}.{minor}.0"
        collector = f"FROM otel/opentelemetry-collector-contrib:{versions['COLLECTOR_BUILDER']} "
        assert SERVICES["otel-collector"]["build"]["dockerfile_inline"].startswith(collector)


class TestAddresses:
    @pytest.mark.parametrize(
        "document",
        [SERVICES, PROMETHEUS, DATA_SOURCES, read(DEPLOY / "exporter.yaml")],
        ids=["compose", "prometheus", "grafana", "exporter"],
    )
    def test_lead_to_a_service_that_listens_there(self, document: Any) -> None:
        found = addresses(document)
        assert found
        for host, port in found:
            assert port in listens(host), f"{host}:{port}"

    def test_lead_the_cycles_servers_to_redis(self) -> None:
        for name in ("cycles-server", "cycles-admin"):
            environment = SERVICES[name]["environment"]
            assert int(environment["REDIS_PORT"]) in listens(environment["REDIS_HOST"])

    def test_lead_all_that_is_scraped_to_prometheus(self) -> None:
        scraped = {host for host, _ in addresses(PROMETHEUS)}
        assert scraped == {"otel-collector", "cycles-exporter", "cycles-server", "tempo"}


class TestCollector:
    def test_is_given_files_that_are_mounted(self) -> None:
        command = SERVICES["otel-collector"]["command"]
        assert {path for path in command if path != "--config"} == set(mounts("otel-collector"))

    def test_is_given_variables_that_its_files_have(self) -> None:
        known = variables_of_collector("all-in-one.yaml", "traces-otlp.yaml")
        assert set(SERVICES["otel-collector"]["environment"]) <= known

    def test_listens_where_it_is_told_to(self) -> None:
        environment = SERVICES["otel-collector"]["environment"]
        told = {
            int(value.rsplit(":", 1)[1]) for value in environment.values() if re.fullmatch(r"0\.0\.0\.0:\d+", value)
        }
        # The two that keep their port: its own metrics and, on loopback, its health.
        assert told | {8888, 13133} == listens("otel-collector")


class TestTempo:
    def test_listens_where_it_is_told_to(self) -> None:
        taken = TEMPO["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
        assert {TEMPO["server"]["http_listen_port"], int(taken.rsplit(":", 1)[1])} == listens("tempo")

    def test_keeps_traces_on_its_volume(self) -> None:
        trace = TEMPO["storage"]["trace"]
        (volume,) = [target for target, source in mounts("tempo").items() if source == "tempo"]
        assert trace["wal"]["path"].startswith(f"{volume}/")
        assert trace["local"]["path"].startswith(f"{volume}/")

    def test_says_nothing_that_this_version_does_not_know(self) -> None:
        known = {"server", "distributor", "ingester", "compactor", "storage", "usage_report"}
        assert set(TEMPO) == known


class TestPrometheus:
    def test_evaluates_all_rules_of_the_repository(self) -> None:
        assert PROMETHEUS["rule_files"] == ["rules/*.yaml"]
        rules = {target: source for target, source in mounts("prometheus").items() if "/rules/" in target}
        assert set(rules) == {f"/etc/prometheus/rules/{name}.yaml" for name in ("recording", "alerts")}
        assert set(rules.values()) == {f"../dashboards/rules/{name}.yaml" for name in ("recording", "alerts")}

    def test_shows_the_admin_key_to_the_ledger(self) -> None:
        (job,) = [job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "cycles-server"]
        (file,) = job["http_headers"]["X-Admin-API-Key"]["files"]
        (config,) = SERVICES["prometheus"]["configs"]
        assert config["target"] == f"/etc/prometheus/{file}"
        assert (
            COMPOSE["configs"][config["source"]]["content"] == SERVICES["cycles-server"]["environment"]["ADMIN_API_KEY"]
        )

    def test_leaves_job_and_instance_to_those_who_sent(self) -> None:
        (job,) = [job for job in PROMETHEUS["scrape_configs"] if "otel-collector:8889" in str(job)]
        assert job["honor_labels"] is True

    def test_keeps_exemplars(self) -> None:
        assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]


class TestGrafana:
    def test_leads_from_an_exemplar_to_its_trace(self) -> None:
        (link,) = DATA_SOURCES["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
        assert link["name"] == "trace_id"
        assert DATA_SOURCES[link["datasourceUid"]]["type"] == "tempo"

    def test_leads_from_a_span_to_metrics(self) -> None:
        uid = DATA_SOURCES["tempo"]["jsonData"]["tracesToMetrics"]["datasourceUid"]
        assert DATA_SOURCES[uid]["type"] == "prometheus"

    def test_finds_the_dashboards_where_they_are_mounted(self) -> None:
        assert mounts("grafana")[PROVIDER["options"]["path"]] == "../dashboards"

    def test_opens_with_a_dashboard_that_there_is(self) -> None:
        home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        folder = PROVIDER["options"]["path"]
        assert (REPOSITORY / "dashboards" / home.removeprefix(f"{folder}/")).is_file()

    def test_asks_at_the_pace_of_the_scrapes(self) -> None:
        assert DATA_SOURCES["prometheus"]["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


class TestExporter:
    def test_is_accepted_by_the_program(self) -> None:
        command = SERVICES["cycles-exporter"]["command"]
        parsed = parser().parse_args(command)
        assert parsed.port in listens("cycles-exporter")
        assert parsed.config in mounts("cycles-exporter")

    def test_polls_every_tenant_of_the_desk(self, tmp_path: Path) -> None:
        for tenant in TENANTS:
            (tmp_path / tenant.name).write_text("cyc_live_of_a_test")
        moved = (DEPLOY / "exporter.yaml").read_text().replace("/run/cycles/", f"{tmp_path}/")
        (tmp_path / "exporter.yaml").write_text(moved)
        targets = read_targets(tmp_path / "exporter.yaml", Pace())
        assert {target.name for target in targets} == {tenant.name for tenant in TENANTS}

    def test_reads_the_keys_where_they_are_written(self) -> None:
        written = SERVICES["accounts"]["environment"]["CYCLES_KEYS"]
        for target in read(DEPLOY / "exporter.yaml")["targets"]:
            assert target["api_key_file"] == f"{written}/{target['tenant']}"
        for name in ("accounts", "demo", "cycles-exporter"):
            assert mounts(name)[written] == "keys"


class TestOwnPrograms:
    @pytest.mark.parametrize("name", ["accounts", "demo"])
    def test_is_a_module_that_is_mounted(self, name: str) -> None:
        module = SERVICES[name]["entrypoint"][-1]
        path = DEPLOY.parent / (module.replace(".", "/") + ".py")
        assert path.is_file()
        inside = f"{SERVICES[name]['working_dir']}/deploy/demo"
        assert (DEPLOY / mounts(name)[inside]).samefile(path.parent)

    @pytest.mark.parametrize("name", ["accounts", "demo"])
    def test_is_given_variables_that_it_reads(self, name: str) -> None:
        files = [*(DEPLOY / "demo").glob("*.py"), *(REPOSITORY / "cycles_otel").rglob("*.py")]
        code = "\n".join(path.read_text(encoding="utf-8") for path in files)
        for variable in SERVICES[name]["environment"]:
            assert variable.startswith("OTEL_") or f'"{variable}"' in code, variable
