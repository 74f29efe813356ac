"""What is said to the server of a step: its action, its subject, and names that the protocol would refuse."""

from __future__ import annotations

import re
from typing import Any

import pytest
from agents import Agent, Model, ModelProvider, RunConfig, Runner, handoff
from agents.models import get_default_model

from cycles_otel import ToolRiskConfig, cycles_budget_guardrail
from cycles_otel.budget.subject import subject_value
from cycles_otel.local import Fault, LocalCycles, LoggedRequest
from cycles_otel.telemetry import semconv
from tests.hooks.conftest import MakeHooks
from tests.hooks.desk import DONE, CountingTool, PricedModel, agent, calling
from tests.telemetry.witness import Witness, attributes

VALID = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
STRANGE_NAMES = {
    "spaces": "Customer Support Desk",
    "accents": "Übersetzer für Anträge",
    "another script": "客服",
    "emoji": "\N{ROBOT FACE}" * 200,
    "slashes": "../../tenant:other/agent:x",
    "long": "a" * 300,
    "longer than any name": "Very long. " * 1_000,
    "a line": "one\ntwo\x00",
    "one space": " ",
}
each_strange_name = pytest.mark.parametrize("name", STRANGE_NAMES.values(), ids=list(STRANGE_NAMES))


def asked(server: LocalCycles, kind: str) -> list[LoggedRequest]:
    """The requests, commits and releases apart, about actions of a kind."""
    return [each for each in server.requests if each.body.get("action", {}).get("kind") == kind]


def handing_over(to: str, *, from_: str = "desk") -> Agent[Any]:
    """An agent that hands over to another one, which ends the run."""
    last = agent(PricedModel(DONE), name=to)
    first = agent(PricedModel(calling("go")), name=from_)
    first.handoffs = [handoff(last, tool_name_override="go")]
    return first


class Models(ModelProvider):
    """Gives the same model for each name."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def get_model(self, model_name: str | None) -> Model:
        self.asked.append(model_name)
        return PricedModel(DONE)


class TestLlm:
    async def model_named(self, server: LocalCycles, hooks: Any, starting: Agent[Any], **config: Any) -> str:
        models = Models()
        await Runner.run(starting, "hello", hooks=hooks, run_config=RunConfig(model_provider=models, **config))
        (request,) = asked(server, "llm.completion")
        return str(request.body["action"]["name"])

    async def test_the_model_of_the_run_s_config_stands_first(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        starting = Agent(name="desk", model="gpt-4o")
        assert await self.model_named(server, make_hooks(), starting, model="gpt-4o-mini") == "gpt-4o-mini"

    async def test_a_model_object_in_the_run_s_config_names_itself(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        own = PricedModel(DONE, model="gpt-4.1")
        assert await self.model_named(server, make_hooks(), Agent(name="desk", model="gpt-4o"), model=own) == "gpt-4.1"

    async def test_then_the_agent_s_own(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        assert await self.model_named(server, make_hooks(), Agent(name="desk", model="gpt-4o")) == "gpt-4o"

    async def test_or_its_model_object(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        assert await self.model_named(server, make_hooks(), agent(PricedModel(DONE, model="gpt-4.1"))) == "gpt-4.1"

    @pytest.mark.parametrize("name", [None, "", 5])
    async def test_a_model_object_without_a_name_is_known_by_its_class(
        self, name: Any, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        nameless = PricedModel(DONE, model=name)
        assert await self.model_named(server, make_hooks(), agent(nameless)) == "PricedModel"

    async def test_at_last_the_sdk_s_default(
        self, server: LocalCycles, make_hooks: MakeHooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert await self.model_named(server, make_hooks(), Agent(name="desk")) == get_default_model()
        server.clear_requests()
        monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "gpt-4o")
        assert await self.model_named(server, make_hooks(), Agent(name="desk")) == "gpt-4o"

    async def test_a_very_long_one_is_cut(self, server: LocalCycles, make_hooks: MakeHooks, witness: Witness) -> None:
        name = await self.model_named(server, make_hooks(), Agent(name="desk", model="m" * 1_000))
        assert name == "m" * 256
        assert attributes(witness.span("reserve llm.completion"))["gen_ai.request.model"] == "m" * 1_000


class TestTool:
    async def test_a_call_has_its_kind_its_name_and_its_toolset(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        hooks = make_hooks(tool_risk={"crm": ToolRiskConfig(10, "tool.crm.update")}, workflow="support")
        model = PricedModel(calling("lookup", "crm"), DONE)
        await Runner.run(agent(model, CountingTool(), CountingTool("crm")), "hello", hooks=hooks)
        said = [asked(server, kind)[0].body for kind in ("tool.invoke", "tool.crm.update")]
        assert [each["action"]["name"] for each in said] == ["lookup", "crm"]
        assert [each["estimate"] for each in said] == [
            {"unit": "RISK_POINTS", "amount": 1},
            {"unit": "RISK_POINTS", "amount": 10},
        ]
        for each, tool in zip(said, ["lookup", "crm"], strict=True):
            assert each["subject"] == {"tenant": "acme", "workflow": "support", "agent": "desk", "toolset": tool}

    async def test_one_tool_can_have_a_budget(self, make_hooks: MakeHooks) -> None:
        budgets = {
            "tenant:acme": {"USD_MICROCENTS": 10_000_000, "RISK_POINTS": 100},
            "tenant:acme/agent:desk/toolset:send_email": {"RISK_POINTS": 50},
        }
        with LocalCycles(budgets=budgets) as server:
            hooks = make_hooks(config=server.config("acme"), tool_risk={"send_email": 50})
            email, other = CountingTool("send_email"), CountingTool("other")
            for tool in ("send_email", "other"):
                await Runner.run(agent(PricedModel(calling(tool), DONE), email, other), "hello", hooks=hooks)
            with pytest.raises(Exception, match="toolset:send_email"):
                await Runner.run(agent(PricedModel(calling("send_email")), email), "hello", hooks=hooks)
            assert (email.calls, other.calls) == (1, 1)

    @pytest.mark.parametrize("name", ["t" * 300, "\N{ROBOT FACE}" * 200, "look up", "größe"])
    async def test_any_name_of_a_tool_works(
        self, name: str, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        tool = CountingTool(name)
        await Runner.run(agent(PricedModel(calling(name), DONE), tool), "hello", hooks=make_hooks(fail_open=False))
        (request,) = asked(server, "tool.invoke")
        assert name.startswith(request.body["action"]["name"])
        assert VALID.fullmatch(request.body["subject"]["toolset"])
        assert tool.calls == 1
        assert attributes(witness.span("reserve tool.invoke"))["gen_ai.tool.name"] == name


class TestHandoff:
    async def test_it_is_an_event_named_after_the_receiving_agent(
        self, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await Runner.run(handing_over("Billing Desk", from_="Über Triage"), "hello", hooks=make_hooks())
        (event,) = server.ledger().events
        assert (event.action["kind"], event.action["name"]) == ("agent.handoff", "Billing Desk")
        assert (event.unit, event.actual, event.charged) == ("RISK_POINTS", 0, 0)
        assert event.metadata == {"from_agent": "Über Triage", "to_agent": "Billing Desk"}
        assert event.subject["agent"] == subject_value("Über Triage")
        assert attributes(witness.span("event agent.handoff"))["gen_ai.agent.name"] == "Über Triage"

    @each_strange_name
    async def test_any_name_of_an_agent_works(self, name: str, server: LocalCycles, make_hooks: MakeHooks) -> None:
        await Runner.run(handing_over(name, from_=name), "hello", hooks=make_hooks())
        (event,) = server.ledger().events
        assert event.metadata == {"from_agent": name, "to_agent": name}
        assert event.action["name"] == "unnamed" if not name.strip() else name.startswith(event.action["name"])

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(operation="event", status=500, times=None),
            Fault(operation="event", status=400, times=None),
            Fault(operation="event", drop="before", times=None),
            Fault(operation="event", body="<html></html>", times=None),
        ],
        ids=["500", "400", "dropped", "HTML"],
    )
    async def test_it_never_stops_a_run_by_failing(
        self, fault: Fault, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        server.inject(fault)
        hooks = make_hooks(fail_open=False, settle_timeout=0.1)
        result = await Runner.run(handing_over("billing"), "hello", hooks=hooks)
        assert result.last_agent.name == "billing"
        assert asked(server, "agent.handoff")

    async def test_a_tenant_without_risk_points_hands_over_all_the_same(self, make_hooks: MakeHooks) -> None:
        with LocalCycles(budgets={"tenant:acme": {"USD_MICROCENTS": 10_000_000}}) as server:
            hooks = make_hooks(config=server.config("acme"))
            result = await Runner.run(handing_over("billing"), "hello", hooks=hooks)
            assert result.last_agent.name == "billing"
            assert [each.status for each in asked(server, "agent.handoff")] == [400]


class TestAgentNames:
    @each_strange_name
    async def test_any_name_becomes_a_subject_and_the_original_stays_on_the_span(
        self, name: str, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await Runner.run(agent(PricedModel(DONE), name=name), "hello", hooks=make_hooks(fail_open=False))
        (request,) = asked(server, "llm.completion")
        assert VALID.fullmatch(request.body["subject"]["agent"])
        for span in ("reserve llm.completion", "commit llm.completion", "cycles.reservation llm.completion"):
            assert attributes(witness.span(span))["gen_ai.agent.name"] == name
        assert [each.status for each in server.ledger().reservations] == ["COMMITTED"]
        assert witness.total(semconv.UNENFORCED_STEPS) == 0

    async def test_the_real_name_stands_before_the_parameter(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        hooks = make_hooks(agent="parameter")
        await Runner.run(handing_over("billing"), "hello", hooks=hooks)
        assert [each.body["subject"]["agent"] for each in asked(server, "llm.completion")] == ["desk", "billing"]

    async def test_the_parameter_counts_for_an_agent_without_a_name(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        await Runner.run(agent(PricedModel(DONE), name=""), "hello", hooks=make_hooks(agent="parameter"))
        assert asked(server, "llm.completion")[0].body["subject"]["agent"] == "parameter"


class TestSubjectValues:
    def test_a_valid_name_stays_as_it_is(self) -> None:
        for name in ("desk", "Desk_1.2-b", "a" * 128):
            assert subject_value(name) == name

    @pytest.mark.parametrize(
        ("name", "readable"),
        [
            ("Customer Support Desk", "Customer-Support-Desk-"),
            ("Übersetzer für Anträge", "Ubersetzer-fur-Antrage-"),
            ("客服", "name-"),
            ("a" * 129, "a" * 119 + "-"),
            ("", "name-"),
        ],
    )
    def test_any_other_stays_readable(self, name: str, readable: str) -> None:
        assert VALID.fullmatch(subject_value(name))
        assert re.fullmatch(re.escape(readable) + "[0-9a-f]{8}", subject_value(name))

    def test_distinct_names_stay_distinct(self) -> None:
        names = ["a b", "a  b", "a-b", "a/b", "Ä", "A", "客", "服", "x" * 129, "x" * 130, "", " "]
        assert len({subject_value(name) for name in names}) == len(names)


class TestGuardrail:
    @each_strange_name
    async def test_any_name_of_an_agent_works(self, name: str, server: LocalCycles, witness: Witness) -> None:
        guard = cycles_budget_guardrail(config=server.config("acme"), recorder=witness.recorder, fail_open=False)
        await Runner.run(agent(PricedModel(DONE), name=name, input_guardrails=[guard]), "hello")
        (request,) = asked(server, "agent.run")
        assert request.status == 200
        assert VALID.fullmatch(request.body["subject"]["agent"])
        assert attributes(witness.span("decide agent.run"))["gen_ai.agent.name"] == name
