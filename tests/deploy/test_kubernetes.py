"""That the manifests in ``deploy/kubernetes`` fit together, and ask for no more than they need."""

from __future__ import annotations

from typing import Any

import pytest

from cycles_otel import __version__
from tests.deploy.files import (
    BASE,
    REPOSITORY,
    addresses,
    manifests,
    read,
    variables_of_collector,
    versions_of_stack,
)

WORKLOADS = [each for each in manifests() if each["kind"] in ("DaemonSet", "Deployment", "StatefulSet")]
KUSTOMIZATION = read(BASE / "kustomization.yaml")
GENERATED = {
    each["name"]: each["files"]
    for folder in ("collector-config", "dashboards")
    for each in read(REPOSITORY / folder / "kustomization.yaml")["configMapGenerator"]
}

each_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda each: str(each["metadata"]["name"]))


def name_of(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"]["name"])


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = workload["spec"]["template"]["spec"]
    return pod


def container_of(workload: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any]
    (container,) = pod_of(workload)["containers"]
    return container


def ports_of(workload: dict[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container_of(workload)["ports"]}


def selected(selector: dict[str, Any]) -> list[dict[str, Any]]:
    """The workloads whose pods a selector matches."""
    if "matchExpressions" in selector:
        (expression,) = selector["matchExpressions"]
        wanted = [{expression["key"]: value} for value in expression["values"]]
    else:
        wanted = [selector.get("matchLabels", selector)]
    return [
        each
        for each in WORKLOADS
        if any(w.items() <= each["spec"]["template"]["metadata"]["labels"].items() for w in wanted)
    ]


class TestWorkloads:
    @each_workload
    def test_needs_neither_root_nor_a_disk_of_the_image(self, workload: dict[str, Any]) -> None:
        pod, container = pod_of(workload), container_of(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }

    @each_workload
    def test_is_asked_for_its_health_on_a_port_that_it_has(self, workload: dict[str, Any]) -> None:
        container = container_of(workload)
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in ports_of(workload)

    @each_workload
    def test_says_what_it_needs(self, workload: dict[str, Any]) -> None:
        resources = container_of(workload)["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"])
        assert "memory" in resources["limits"]

    @each_workload
    def test_selects_its_own_pods(self, workload: dict[str, Any]) -> None:
        assert selected(workload["spec"]["selector"]) == [workload]

    @each_workload
    def test_mounts_volumes_that_it_has(self, workload: dict[str, Any]) -> None:
        claims = workload["spec"].get("volumeClaimTemplates", [])
        had = {volume["name"] for volume in pod_of(workload)["volumes"]} | {name_of(claim) for claim in claims}
        assert {mount["name"] for mount in container_of(workload)["volumeMounts"]} == had

    @each_workload
    def test_has_a_version(self, workload: dict[str, Any]) -> None:
        versions = {image["name"]: image["newTag"] for image in KUSTOMIZATION["images"]}
        expected = {
            "cycles-otel": __version__,
            "otel/opentelemetry-collector-contrib": versions_of_stack()["COLLECTOR_BUILDER"],
        }
        image = container_of(workload)["image"]
        assert versions[image] == expected[image]


class TestCollectors:
    @pytest.mark.parametrize("name", ["otel-agent", "otel-gateway"])
    def test_reads_a_file_of_the_repository(self, name: str) -> None:
        (workload,) = [each for each in WORKLOADS if name_of(each) == name]
        (config,) = [volume["configMap"]["name"] for volume in pod_of(workload)["volumes"] if "configMap" in volume]
        (argument,) = container_of(workload)["args"]
        folder, _, file = argument.removeprefix("--config=").rpartition("/")
        assert {"name": "config", "mountPath": folder, "readOnly": True} in container_of(workload)["volumeMounts"]
        assert file in GENERATED[config]
        assert all((REPOSITORY / "collector-config" / each).is_file() for each in GENERATED[config])

    @pytest.mark.parametrize("name", ["otel-agent", "otel-gateway"])
    def test_is_given_variables_that_its_file_has(self, name: str) -> None:
        (workload,) = [each for each in WORKLOADS if name_of(each) == name]
        given = {each["name"] for each in container_of(workload)["env"] if each["name"].startswith("COLLECTOR_")}
        assert given <= variables_of_collector(f"{name.removeprefix('otel-')}.yaml")

    def test_keep_their_queue_on_a_volume(self) -> None:
        for workload in WORKLOADS:
            if name_of(workload).startswith("otel-"):
                assert {"name": "queue", "mountPath": "/var/lib/otelcol"} in container_of(workload)["volumeMounts"]


class TestServices:
    @pytest.mark.parametrize("service", manifests("Service"), ids=name_of)
    def test_leads_to_ports_of_pods_that_there_are(self, service: dict[str, Any]) -> None:
        (workload,) = selected(service["spec"]["selector"])
        for port in service["spec"]["ports"]:
            assert ports_of(workload)[port["targetPort"]] == port["port"]

    @each_workload
    def test_is_where_a_neighbour_is_asked_for(self, workload: dict[str, Any]) -> None:
        services = {name_of(each): {port["port"] for port in each["spec"]["ports"]} for each in manifests("Service")}
        # The ledger is not ours to deploy.
        for host, port in addresses(container_of(workload)["env"]) - {("cycles-server", 7878)}:
            assert port in services[host]

    def test_has_the_name_that_the_stateful_set_and_the_layer_for_several_gateways_ask_for(self) -> None:
        (gateway,) = [each for each in WORKLOADS if each["kind"] == "StatefulSet"]
        headless = [each for each in manifests("Service") if each["spec"].get("clusterIP") == "None"]
        assert [name_of(each) for each in headless] == [gateway["spec"]["serviceName"]]
        layer = (REPOSITORY / "collector-config" / "loadbalancing.yaml").read_text(encoding="utf-8")
        assert f"COLLECTOR_GATEWAY_HOST:-{name_of(headless[0])}}}" in layer


class TestMonitors:
    @pytest.mark.parametrize("monitor", manifests("ServiceMonitor"), ids=name_of)
    def test_finds_one_service_with_that_port(self, monitor: dict[str, Any]) -> None:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = [each for each in manifests("Service") if wanted <= each["metadata"]["labels"].items()]
        for endpoint in monitor["spec"]["endpoints"]:
            assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}

    def test_find_the_pods_of_both_collectors(self) -> None:
        (monitor,) = manifests("PodMonitor")
        workloads = selected(monitor["spec"]["selector"])
        assert {name_of(each) for each in workloads} == {"otel-agent", "otel-gateway"}
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            assert all(endpoint["port"] in ports_of(each) for each in workloads)

    def test_leave_job_and_instance_to_those_who_sent(self) -> None:
        (gateway,) = [each for each in manifests("ServiceMonitor") if name_of(each) == "otel-gateway"]
        assert all(endpoint["honorLabels"] is True for endpoint in gateway["spec"]["endpoints"])


class TestNetworkPolicies:
    @pytest.mark.parametrize("policy", manifests("NetworkPolicy"), ids=name_of)
    def test_names_ports_of_the_pods_that_it_guards(self, policy: dict[str, Any]) -> None:
        (workload,) = selected(policy["spec"]["podSelector"])
        for rule in policy["spec"]["ingress"]:
            assert all(port["port"] in ports_of(workload) for port in rule["ports"])

    def test_let_agents_alone_send_to_the_gateway(self) -> None:
        (policy,) = [each for each in manifests("NetworkPolicy") if name_of(each) == "otel-gateway"]
        (senders,) = [rule["from"] for rule in policy["spec"]["ingress"] if {"port": "otlp-grpc"} in rule["ports"]]
        (sender,) = senders
        assert [name_of(each) for each in selected(sender["podSelector"])] == ["otel-agent"]


class TestDashboards:
    def test_are_all_in_config_maps_that_the_sidecar_finds(self) -> None:
        kustomization = read(REPOSITORY / "dashboards" / "kustomization.yaml")
        listed = [file for name, files in GENERATED.items() if name.startswith("cycles-dashboard-") for file in files]
        assert sorted(listed) == sorted(path.name for path in (REPOSITORY / "dashboards").glob("*.json"))
        assert kustomization["generatorOptions"]["labels"]["grafana_dashboard"] == "1"

    def test_come_with_the_rules(self) -> None:
        kustomization = read(REPOSITORY / "dashboards" / "kustomization.yaml")
        assert kustomization["resources"] == ["rules/prometheusrule.yaml"]
        assert "../../../dashboards" in KUSTOMIZATION["resources"]
