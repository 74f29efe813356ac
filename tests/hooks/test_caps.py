"""Caps bind: those of an LLM call its tools, a tool's own the tool; what they forbid does not run and is a denial."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from agents import Runner
from agents.exceptions import AgentsException
from agents.testing import function_call
from runcycles import BudgetExceededError

from cycles_otel import CyclesUnavailableError, StepDeniedError
from cycles_otel.caps import CapsInForce, allows_tool, cooldown_of
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import semconv
from tests.hooks.conftest import MakeHooks
from tests.hooks.desk import BUDGETS, COST, DONE, CountingTool, PricedModel, after, agent, calling
from tests.run.desk import until
from tests.telemetry.witness import Witness, attributes

LLM_UNIT, TOOL_UNIT = "USD_MICROCENTS", "RISK_POINTS"
FORBIDDING = [{"tool_denylist": ["lookup"]}, {"tool_allowlist": ["other"]}, {"tool_allowlist": ["Lookup"]}]
ALLOWING = [
    {"tool_denylist": ["other"]},
    {"tool_denylist": ["LOOKUP"]},
    {"tool_allowlist": ["lookup"]},
    {"tool_allowlist": ["lookup"], "tool_denylist": ["lookup"]},
    {"tool_allowlist": [], "tool_denylist": []},
    {"max_tokens": 5},
]
AGAIN = [function_call("lookup", {}, call_id="again")]
"""A second call of ``lookup``, with an id of its own."""
each_points = pytest.mark.parametrize("points", [0, 5])


SCOPES = {LLM_UNIT: "tenant:acme/agent:desk", TOOL_UNIT: "tenant:acme/agent:desk/toolset:lookup"}
"""The deepest scope of an LLM call and of a call of ``lookup``: the server gives back the caps of that one."""


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets={**BUDGETS, **dict.fromkeys(SCOPES.values(), BUDGETS["tenant:acme"])}) as server:
        yield server


def set_caps(server: LocalCycles, unit: str, caps: dict[str, Any] | None) -> None:
    server.set_budget(SCOPES[unit], unit, caps=caps)


async def denial_of(model: PricedModel, tool: CountingTool, hooks: Any) -> StepDeniedError:
    """The denial that stops the run of an agent with this model and tool."""
    with pytest.raises(BudgetExceededError) as caught:
        await Runner.run(agent(model, tool), "hello", hooks=hooks)
    assert isinstance(caught.value, StepDeniedError)
    assert isinstance(caught.value, AgentsException)
    return caught.value


class TestPrecedence:
    @pytest.mark.parametrize("caps", [None, {}, *ALLOWING], ids=str)
    def test_a_tool_that_no_list_forbids_is_allowed(self, caps: dict[str, Any] | None) -> None:
        assert allows_tool(caps, "lookup")

    @pytest.mark.parametrize("caps", FORBIDDING, ids=str)
    def test_a_tool_on_the_denylist_or_missing_from_an_allowlist_is_forbidden(self, caps: dict[str, Any]) -> None:
        assert not allows_tool(caps, "lookup")

    def test_what_is_no_list_and_no_number_binds_nothing(self) -> None:
        odd = {"tool_allowlist": "x", "tool_denylist": 5, "max_steps_remaining": "0", "cooldown_ms": "5000"}
        caps = CapsInForce()
        caps.from_llm(odd)
        assert caps.allow_tool("lookup")
        assert caps.take_step()
        assert cooldown_of(odd) == 0


class TestLlmCaps:
    @each_points
    @pytest.mark.parametrize("caps", FORBIDDING, ids=str)
    async def test_a_tool_that_the_llm_call_must_not_call_does_not_run(
        self, caps: dict[str, Any], points: int, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        set_caps(server, LLM_UNIT, caps)
        tool = CountingTool()
        hooks = make_hooks(tool_risk={"lookup": points})
        error = await denial_of(PricedModel(calling("lookup"), DONE), tool, hooks)
        assert (error.reason_code, error.unit, error.scope) == (
            "TOOL_NOT_ALLOWED",
            "RISK_POINTS",
            "tenant:acme/agent:desk/toolset:lookup",
        )
        assert tool.calls == 0
        assert server.ledger().active == ()
        assert [(each.unit, each.charged) for each in server.ledger().reservations] == [(LLM_UNIT, COST)]

    @each_points
    @pytest.mark.parametrize("caps", ALLOWING, ids=str)
    async def test_a_tool_that_it_may_call_runs(
        self, caps: dict[str, Any], points: int, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        set_caps(server, LLM_UNIT, caps)
        tool = CountingTool()
        model = PricedModel(calling("lookup"), DONE)
        await Runner.run(agent(model, tool), "hello", hooks=make_hooks(tool_risk={"lookup": points}))
        assert tool.calls == 1

    async def test_an_agent_as_a_tool_is_forbidden_like_any_other(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        set_caps(server, LLM_UNIT, {"tool_denylist": ["ask_helper"]})
        helper = PricedModel(DONE)
        asking = agent(PricedModel(calling("ask_helper")))
        asking.tools = [agent(helper, name="helper").as_tool("ask_helper", "Ask the helper.")]
        with pytest.raises(StepDeniedError, match="TOOL_NOT_ALLOWED"):
            await Runner.run(asking, "hello", hooks=make_hooks())
        assert helper.calls == ()

    async def test_those_of_the_latest_call_count(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        set_caps(server, LLM_UNIT, {"tool_denylist": ["other"]})
        tool = CountingTool()
        forbid = after(lambda: set_caps(server, LLM_UNIT, {"tool_denylist": ["lookup"]}), calling("lookup"))
        error = await denial_of(PricedModel(forbid, AGAIN), tool, make_hooks())
        assert (error.reason_code, tool.calls) == ("TOOL_NOT_ALLOWED", 1)

    async def test_those_of_an_earlier_call_do_not(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        set_caps(server, LLM_UNIT, {"tool_denylist": ["other"]})
        other = CountingTool("other")
        allow = after(lambda: set_caps(server, LLM_UNIT, None), calling("lookup"))
        model = PricedModel(allow, calling("other"), DONE)
        await Runner.run(agent(model, CountingTool(), other), "hello", hooks=make_hooks())
        assert other.calls == 1

    async def test_those_of_another_run_do_not(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        hooks, tool = make_hooks(), CountingTool()
        set_caps(server, LLM_UNIT, {"tool_denylist": ["lookup"]})
        set_free = after(lambda: set_caps(server, LLM_UNIT, None), DONE)
        await Runner.run(agent(PricedModel(set_free)), "hello", hooks=hooks)
        await Runner.run(agent(PricedModel(calling("lookup"), DONE), tool), "hello", hooks=hooks)
        assert tool.calls == 1


class TestToolCaps:
    @pytest.mark.parametrize("caps", FORBIDDING, ids=str)
    async def test_a_tool_that_its_own_caps_forbid_does_not_run_and_costs_nothing(
        self, caps: dict[str, Any], server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        set_caps(server, TOOL_UNIT, caps)
        tool = CountingTool()
        error = await denial_of(PricedModel(calling("lookup"), DONE), tool, make_hooks())
        assert (error.reason_code, tool.calls) == ("TOOL_NOT_ALLOWED", 0)
        (given_back,) = server.ledger().released
        assert (given_back.action["name"], given_back.release_reason) == ("lookup", "tool_not_run")
        assert server.ledger().active == ()
        assert server.ledger().charged(TOOL_UNIT) == 0

    async def test_they_do_not_bind_the_next_tool(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        set_caps(server, TOOL_UNIT, {"tool_allowlist": ["lookup"]})
        free = CountingTool("free")
        model = PricedModel(calling("lookup"), calling("free"), DONE)
        await Runner.run(agent(model, CountingTool(), free), "hello", hooks=make_hooks(tool_risk={"free": 0}))
        assert free.calls == 1


class TestSteps:
    @pytest.mark.parametrize(("allowed", "model_calls", "tool_calls"), [(0, 1, 0), (1, 1, 1), (2, 2, 1), (3, 2, 2)])
    @each_points
    async def test_no_more_steps_run_than_may_follow(
        self, allowed: int, model_calls: int, tool_calls: int, points: int, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        set_caps(server, LLM_UNIT, {"max_steps_remaining": allowed})
        model, tool = PricedModel(calling("lookup"), AGAIN, DONE), CountingTool()
        error = await denial_of(model, tool, make_hooks(tool_risk={"lookup": points}))
        assert error.reason_code == "MAX_STEPS_REACHED"
        assert (len(model.calls), tool.calls) == (model_calls, tool_calls)
        assert server.ledger().active == ()

    async def test_a_run_that_needs_no_more_ends_well(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        set_caps(server, LLM_UNIT, {"max_steps_remaining": 2})
        hooks = make_hooks()
        for _ in range(2):  # Each run counts for itself.
            tool = CountingTool()
            await Runner.run(agent(PricedModel(calling("lookup"), DONE), tool), "hello", hooks=hooks)
            assert tool.calls == 1

    async def test_a_tool_s_caps_limit_what_follows_it(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        set_caps(server, TOOL_UNIT, {"max_steps_remaining": 0})
        model, tool = PricedModel(calling("lookup"), DONE), CountingTool()
        error = await denial_of(model, tool, make_hooks())
        assert (error.reason_code, tool.calls, len(model.calls)) == ("MAX_STEPS_REACHED", 1, 1)

    async def test_of_two_tools_in_one_turn_one_is_let_go(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        set_caps(server, LLM_UNIT, {"max_steps_remaining": 1})
        model, tool = PricedModel(calling("lookup", "lookup"), DONE), CountingTool()
        error = await denial_of(model, tool, make_hooks())
        assert error.reason_code == "MAX_STEPS_REACHED"
        assert tool.calls <= 1
        # The reserve of the other one may be on its way when the run ends: its grant is given back as it comes.
        await until(lambda: not server.ledger().active)

    def test_outside_of_any_run_steps_are_not_counted_down(self) -> None:
        caps = CapsInForce(counts_steps=False)
        caps.from_llm({"max_steps_remaining": 0})
        assert caps.take_step()


class TestCooldown:
    @pytest.mark.parametrize("unit", [LLM_UNIT, TOOL_UNIT])
    async def test_it_is_waited_for_before_the_step(
        self, unit: str, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        set_caps(server, unit, {"cooldown_ms": 150})
        ran: list[float] = []
        tool = CountingTool()
        first = after(lambda: ran.append(time.monotonic()), calling("lookup"))
        second = after(lambda: ran.append(time.monotonic()), DONE)
        await Runner.run(agent(PricedModel(first, second), tool), "hello", hooks=make_hooks())
        asked = {each.body["action"]["kind"]: each for each in reversed(server.requests) if each.operation == "reserve"}
        if unit == LLM_UNIT:
            assert ran[0] - asked["llm.completion"].received_at >= 0.15
        else:
            assert ran[1] - asked["tool.invoke"].received_at >= 0.15
        assert tool.calls == 1

    @pytest.mark.parametrize("unit", [LLM_UNIT, TOOL_UNIT])
    async def test_one_that_is_too_long_is_a_denial(
        self, unit: str, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        set_caps(server, unit, {"cooldown_ms": 3_600_000})
        model, tool = PricedModel(calling("lookup"), DONE), CountingTool()
        error = await denial_of(model, tool, make_hooks(max_cooldown=3_599))
        assert (error.reason_code, error.unit) == ("COOLDOWN", unit)
        assert "3600 s" in str(error)
        assert (len(model.calls), tool.calls) == (0 if unit == LLM_UNIT else 1, 0)
        assert server.ledger().active == ()
        assert server.ledger().charged(unit) == 0

    @pytest.mark.parametrize("unit", [LLM_UNIT, TOOL_UNIT])
    async def test_a_run_that_is_cancelled_meanwhile_holds_nothing(
        self, unit: str, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        set_caps(server, unit, {"cooldown_ms": 3_600_000})
        model, tool = PricedModel(calling("lookup"), DONE), CountingTool()
        hooks = make_hooks(max_cooldown=4_000)
        run = asyncio.ensure_future(Runner.run(agent(model, tool), "hello", hooks=hooks))
        await until(lambda: any(each.unit == unit for each in server.ledger().active), seconds=10)
        run.cancel()
        await asyncio.wait([run])
        await hooks.aclose()
        assert run.cancelled()
        assert (server.ledger().active, server.ledger().charged(unit), tool.calls) == ((), 0, 0)


class TestShadow:
    @pytest.mark.parametrize("unit", [LLM_UNIT, TOOL_UNIT])
    @pytest.mark.parametrize(
        "caps", [*FORBIDDING, {"max_steps_remaining": 0}, {"cooldown_ms": 3_600_000}, {"max_tokens": 1}], ids=str
    )
    async def test_it_is_never_stopped(
        self, caps: dict[str, Any], unit: str, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        set_caps(server, unit, caps)
        model, tool = PricedModel(calling("lookup"), DONE), CountingTool()
        await Runner.run(agent(model, tool), "hello", hooks=make_hooks(dry_run=True))
        assert (len(model.calls), tool.calls) == (2, 1)
        assert server.ledger().reservations == ()
        assert "ALLOW_WITH_CAPS" in {each.response_body["decision"] for each in server.requests}


class TestTelemetry:
    async def test_what_hooks_cannot_apply_is_reported_on_the_span(
        self, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        set_caps(server, LLM_UNIT, {"max_tokens": 100, "tool_allowlist": ["lookup"]})
        await Runner.run(agent(PricedModel(DONE)), "hello", hooks=make_hooks())
        life = witness.span("cycles.reservation llm.completion")
        (applied,) = [event for event in life.events if event.name == "cycles.caps_applied"]
        assert dict(applied.attributes or {}) == {
            "cycles.caps.max_tokens": 100,
            "cycles.caps.tool_allowlist": ("lookup",),
        }
        assert attributes(witness.span("reserve llm.completion"))["cycles.caps.max_tokens"] == 100

    @each_points
    async def test_a_denial_by_caps_is_one_on_the_span_of_the_step(
        self, points: int, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        set_caps(server, LLM_UNIT, {"tool_denylist": ["lookup"]})
        hooks = make_hooks(tool_risk={"lookup": points})
        await denial_of(PricedModel(calling("lookup")), CountingTool(), hooks)
        life = witness.span("cycles.reservation tool.invoke")
        assert attributes(life)["cycles.reservation.outcome"] == "denied"
        (denied,) = [event for event in life.events if event.name == "cycles.denied"]
        assert dict(denied.attributes or {})["cycles.reason_code"] == "TOOL_NOT_ALLOWED"
        assert witness.total(semconv.RUNS, cycles_run_outcome="denied") == 1
        assert witness.total(semconv.LEAKED) == 0


class TestMalformed:
    @pytest.mark.parametrize("caps", ["none", ["lookup"], 5, True], ids=str)
    async def test_caps_that_are_no_object_are_no_answer(
        self, caps: object, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        body = {"decision": "ALLOW_WITH_CAPS", "reservation_id": "made-up", "affected_scopes": [], "caps": caps}
        server.inject(Fault(operation="reserve", body=body, times=None))
        model = PricedModel(DONE)
        with pytest.raises(CyclesUnavailableError):
            await Runner.run(agent(model), "hello", hooks=make_hooks(fail_open=False))
        assert model.calls == ()
        await Runner.run(agent(model), "hello", hooks=make_hooks())
        assert witness.total(semconv.UNENFORCED_STEPS) == 1
