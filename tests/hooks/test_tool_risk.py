"""What a tool costs: plain dicts, configs, maps, and points that follow from the kind of its action."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agents import Runner

from cycles_otel import ToolRiskConfig, ToolRiskMap
from cycles_otel.action_kinds import KINDS_BY_RISK_CLASS, RISK_CLASS_OF
from cycles_otel.local import LocalCycles
from tests.hooks.conftest import MakeHooks
from tests.hooks.desk import DONE, CountingTool, PricedModel, agent, calling
from tests.telemetry.witness import Witness

REGISTRY: dict[str, Any] = json.loads(Path(__file__).with_name("action_kinds.json").read_text())
POINTS = {"read_only": 0, "local_mutation": 1, "side_effect": 5, "external_side_effect": 20, "high_risk": 50}


async def calls_of(*names: str, hooks: Any) -> list[CountingTool]:
    """Tools of these names, each called once in a governed run."""
    tools = [CountingTool(name) for name in names]
    await Runner.run(agent(PricedModel(calling(*names), DONE), *tools), "hello", hooks=hooks)
    assert [tool.calls for tool in tools] == [1] * len(tools)
    return tools


def charged(server: LocalCycles) -> dict[str, tuple[str, int]]:
    """The kind and the points of each tool that was charged."""
    points = [each for each in server.ledger().committed if each.unit == "RISK_POINTS"]
    return {each.action["name"]: (each.action["kind"], each.charged or 0) for each in points}


MAPPING: dict[str, int | ToolRiskConfig] = {
    "send": 50,
    "update": ToolRiskConfig(risk_points=10, action_kind="tool.crm.update"),
    "search": 0,
}


class TestWays:
    async def test_a_plain_dict_with_a_default_for_the_rest(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        hooks = make_hooks(tool_risk=MAPPING, default_tool_risk=3)
        await calls_of("send", "update", "search", "other", hooks=hooks)
        assert charged(server) == {
            "send": ("tool.invoke", 50),
            "update": ("tool.crm.update", 10),
            "other": ("tool.invoke", 3),
        }

    async def test_a_map_with_a_default_of_its_own(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        hooks = make_hooks(tool_risk=ToolRiskMap(mapping=MAPPING, default_risk=2))
        await calls_of("send", "other", hooks=hooks)
        assert charged(server) == {"send": ("tool.invoke", 50), "other": ("tool.invoke", 2)}

    @pytest.mark.parametrize("tool_risk", [None, {}, ToolRiskMap(), ToolRiskMap({})], ids=repr)
    async def test_without_a_mapping_each_tool_costs_a_point(
        self, tool_risk: Any, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        await calls_of("send", hooks=make_hooks(tool_risk=tool_risk))
        assert charged(server) == {"send": ("tool.invoke", 1)}

    async def test_a_dict_that_changes_later_changes_nothing(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        mapping = {"send": 50}
        hooks = make_hooks(tool_risk=mapping)
        mapping["send"] = 0
        await calls_of("send", hooks=hooks)
        assert charged(server) == {"send": ("tool.invoke", 50)}

    @pytest.mark.parametrize(
        "options",
        [
            {"tool_risk": {"search": 0}},
            {"tool_risk": {"search": ToolRiskConfig(0, "db.query")}},
            {"default_tool_risk": 0},
            {"tool_risk": ToolRiskMap(default_risk=0)},
            {"tool_risk": ToolRiskMap.from_kinds({"search": "db.query"})},
        ],
        ids=str,
    )
    async def test_a_tool_that_costs_nothing_makes_no_call(
        self, options: dict[str, Any], server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        server.set_budget("tenant:acme", "RISK_POINTS", status="FROZEN")
        await calls_of("search", hooks=make_hooks(**options))
        kinds = {each.body["action"]["kind"] for each in server.requests if each.operation == "reserve"}
        assert kinds == {"llm.completion"}
        assert len(server.requests) == 4  # A reserve and a commit for each of the two LLM calls.
        assert not [span for span in witness.spans if "tool" in span.name]


class TestRegistry:
    def test_every_kind_of_the_registry_is_known_with_its_class(self) -> None:
        assert {each["kind"]: each["risk_class"] for each in REGISTRY["kinds"]} == RISK_CLASS_OF

    def test_classes_stand_in_the_registry_s_order(self) -> None:
        assert list(KINDS_BY_RISK_CLASS) == REGISTRY["risk_order"]

    def test_no_kind_stands_twice(self) -> None:
        assert sum(map(len, KINDS_BY_RISK_CLASS.values())) == len(REGISTRY["kinds"])


class TestFromKinds:
    @pytest.mark.parametrize("each", REGISTRY["kinds"], ids=lambda each: each["kind"])
    def test_the_points_of_a_tool_follow_from_the_class_of_its_kind(self, each: dict[str, str]) -> None:
        risk = ToolRiskMap.from_kinds({"tool": each["kind"]}).of("tool")
        assert risk == ToolRiskConfig(POINTS[each["risk_class"]], each["kind"])

    def test_points_rise_with_the_risk(self) -> None:
        of_class = [
            ToolRiskMap.from_kinds({"tool": KINDS_BY_RISK_CLASS[risk_class][0]}).of("tool").risk_points
            for risk_class in REGISTRY["risk_order"]
        ]
        assert of_class == sorted(set(of_class))

    def test_points_of_a_class_can_be_one_s_own(self) -> None:
        kinds = {"mail": "message.email.send", "query": "db.query", "deploy": "code.deploy"}
        risks = ToolRiskMap.from_kinds(kinds, points={"external_side_effect": 100, "read_only": 1}, default_risk=9)
        assert [risks.of(name).risk_points for name in ("mail", "query", "deploy", "else")] == [100, 1, 50, 9]

    async def test_kinds_and_points_go_on_the_wire(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        risks = ToolRiskMap.from_kinds({"mail": "message.email.send", "deploy": "code.deploy", "query": "db.query"})
        await calls_of("mail", "deploy", "query", hooks=make_hooks(tool_risk=risks))
        assert charged(server) == {"mail": ("message.email.send", 20), "deploy": ("code.deploy", 50)}
