"""What can be said of ``collector-config/`` without running it; ``tests/stack/`` runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cycles_otel.telemetry import semconv

FOLDER = Path(__file__).parents[2] / "collector-config"
BASES = ("agent.yaml", "gateway.yaml", "all-in-one.yaml")
LAYERS = ("remote-write.yaml", "traces-otlp.yaml", "traces-http.yaml", "loadbalancing.yaml")
VARIABLE = re.compile(r"\$\{env:(\w+)(?::-([^}]*))?\}")
OUR_KEYS = {key for keys in semconv.SPAN_ATTRIBUTES.values() for key in keys} | {
    *(key for keys in semconv.EVENTS.values() for key in keys),
    *(key for metric in semconv.METRICS for key in metric.attributes),
}


def text_of(file: str) -> str:
    return (FOLDER / file).read_text()


def load(file: str) -> dict[str, Any]:
    """The file as the collector reads it, apart from the variables."""
    loaded: dict[str, Any] = yaml.safe_load(text_of(file).replace("$$", "$"))
    return loaded


def pipelines(file: str) -> dict[str, Any]:
    found: dict[str, Any] = load(file)["service"]["pipelines"]
    return found


def test_all_files_are_known_here() -> None:
    # One of them is for kustomize, and no configuration.
    assert {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"} == {*BASES, *LAYERS}


@pytest.mark.parametrize("file", BASES)
class TestPipelines:
    def test_each_begins_with_the_memory_limiter(self, file: str) -> None:
        assert {pipeline["processors"][0] for pipeline in pipelines(file).values()} == {"memory_limiter"}

    def test_each_masks_before_anything_is_sent_sampled_or_counted(self, file: str) -> None:
        for name, pipeline in pipelines(file).items():
            masking = [each for each in pipeline["processors"] if each not in ("memory_limiter", "resource_detection")]
            texts = ["transform/lend_texts", "redaction", "transform/return_texts"]
            expected = ["redaction"] if name == "metrics" else texts
            assert [each for each in masking if each != "tail_sampling"] == expected
            assert "tail_sampling" not in masking[:-1]

    def test_health_and_the_collectors_own_metrics_can_be_asked_for(self, file: str) -> None:
        service = load(file)["service"]
        assert "health_check" in service["extensions"]
        assert service["telemetry"]["metrics"]["readers"]


class TestSharedParts:
    @pytest.mark.parametrize("name", ["transform/lend_texts", "redaction", "transform/return_texts"])
    def test_all_bases_mask_alike(self, name: str) -> None:
        agent, gateway, all_in_one = (load(file)["processors"][name] for file in BASES)
        assert agent == gateway == all_in_one

    def test_the_laptop_samples_as_the_gateway_does_but_for_the_share(self) -> None:
        gateway, laptop = (
            text_of(file).partition("  tail_sampling:")[2].partition("exporters:")[0] for file in BASES[1:]
        )
        assert gateway.replace("PERCENTAGE:-10}", "PERCENTAGE:-100}") == laptop

    def test_all_queues_are_alike(self) -> None:
        queues = [load("agent.yaml")["exporters"]["otlp_grpc"]["sending_queue"]]
        queues.append(load("gateway.yaml")["exporters"]["otlp_grpc/traces"]["sending_queue"])
        queues.append(load("traces-http.yaml")["exporters"]["otlp_http/traces"]["sending_queue"])
        assert queues[0] == queues[1] == queues[2]


class TestNames:
    def test_the_policies_use_only_names_and_values_of_the_table(self) -> None:
        policies = text_of("gateway.yaml").partition("    policies:")[2].partition("\nconnectors:")[0]
        known = OUR_KEYS | semconv.EVENTS.keys()
        assert set(re.findall(r"cycles\.[a-z_.]+", policies)) <= known
        (outcomes,) = re.findall(r"values: \[(.+)\]", policies)
        assert set(outcomes.split(", ")) <= set(semconv.VALUES[semconv.RESERVATION_OUTCOME])
        assert semconv.SCOPE in policies

    def test_the_policies_keep_all_that_means_trouble(self) -> None:
        (policy,) = [
            each
            for each in load("gateway.yaml")["processors"]["tail_sampling"]["policies"]
            if "settled" in each["name"]
        ]
        good = {"committed", "released", "settled_by_event", semconv.WOULD_ALLOW, semconv.UNBUDGETED}
        assert set(policy["string_attribute"]["values"]) == set(semconv.VALUES[semconv.RESERVATION_OUTCOME]) - good

    def test_the_dimensions_of_span_metrics_are_of_the_table(self) -> None:
        dimensions = load("gateway.yaml")["connectors"]["span_metrics"]["dimensions"]
        assert {each["name"] for each in dimensions} <= OUR_KEYS


class TestMasks:
    def test_no_key_of_ours_is_masked(self) -> None:
        patterns = load("gateway.yaml")["processors"]["redaction"]["blocked_key_patterns"]
        assert [key for key in OUR_KEYS if any(re.search(pattern, key) for pattern in patterns)] == []

    def test_no_value_of_ours_is_masked(self) -> None:
        patterns = load("gateway.yaml")["processors"]["redaction"]["blocked_values"]
        values = [value for values in semconv.VALUES.values() for value in values]
        values += ["BUDGET_EXCEEDED", "tenant:acme/agent:task-list-of-the-basic-plan", "http://localhost:7878/v1"]
        assert [value for value in values if any(re.search(pattern, value) for pattern in patterns)] == []


class TestVariables:
    def test_each_has_a_default(self) -> None:
        assert [
            name for file in (*BASES, *LAYERS) for name, default in VARIABLE.findall(text_of(file)) if not default
        ] == [
            # Without a value no header is sent that says anything.
            "COLLECTOR_REMOTE_WRITE_AUTHORIZATION",
            "COLLECTOR_TRACES_AUTHORIZATION",
        ]

    def test_each_address_is_one(self) -> None:
        plain = [
            (file, path)
            for file in (*BASES, *LAYERS)
            for path, value in _leaves(load(file))
            if path.rpartition(".")[2] in ("endpoint", "traces_endpoint", "directory", "host", "hostname", "port")
            and not VARIABLE.fullmatch(str(value))
        ]
        assert plain == []

    def test_each_is_explained(self) -> None:
        explained = set(re.findall(r"`(COLLECTOR_\w+)`", text_of("README.md")))
        assert explained == {name for file in (*BASES, *LAYERS) for name, _ in VARIABLE.findall(text_of(file))}


def _leaves(part: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(part, list):
        for value in part:
            yield from _leaves(value, path)
    else:
        yield path, part
