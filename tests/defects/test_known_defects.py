"""What plugins for the same purpose are known to get wrong, each by its name: it does not happen here.

Each was seen by running such a plugin. The tests elsewhere go deeper; these say what a newcomer would ask about.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from agents import Agent, InputGuardrailTripwireTriggered, RunConfig, Runner, UserError, function_tool

from cycles_otel import StepDeniedError, cycles_budget_guardrail
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import semconv
from tests.run.desk import Desk, Gate, agent, calls, cancelled, hooks_of, model, says, until
from tests.telemetry.witness import Witness

HTML = "<html><body>Bad gateway</body></html>"


class ModelDownError(Exception):
    """The model gave no answer."""


@function_tool
def look_up() -> str:
    """Answers at once."""
    return "found"


@function_tool(needs_approval=True)
def delete_account() -> str:
    """Runs only with an approval."""
    return "deleted"


class Counted:
    """A model and a tool that know whether they ran."""

    def __init__(self) -> None:
        self.ran = 0
        self.tool = function_tool(self._work, name_override="work")

    def _work(self) -> str:
        self.ran += 1
        return "done"


async def test_a_denial_is_not_swallowed_by_fail_open(desk: Desk) -> None:
    desk.server.set_budget("tenant:acme", "TOKENS", allocated=0)
    stopped = model(says(100))
    with pytest.raises(StepDeniedError):
        await desk.run(Agent(name="clerk", model=stopped))
    assert not stopped.calls


async def test_the_cost_is_committed_and_not_the_estimate(desk: Desk) -> None:
    await desk.run(agent(says(123)))
    assert await desk.charged() == (123, 0)


async def test_parallel_agents_as_tools_do_not_swap_their_commits(desk: Desk) -> None:
    gates = [Gate(), Gate()]
    inner = model(gates[0].before(says(111)), gates[1].before(says(222)))
    tool = Agent(name="inner", model=inner).as_tool("ask", "Ask.")
    running = desk.start(agent(calls(50, "ask", "ask", input="?"), says(60), tools=[tool]))
    for gate in gates:
        await gate.reached.wait()
    gates[1].opened.set()  # The second is back first.
    await until(lambda: desk.ledger.charged("TOKENS") == 50 + 222, seconds=10)
    assert "llm.completion" in {each.action["kind"] for each in desk.ledger.active}  # The first inner call.
    gates[0].opened.set()
    await running
    assert sorted(each.charged or 0 for each in desk.ledger.committed if each.unit == "TOKENS") == [50, 60, 111, 222]


async def test_a_nested_agent_that_fails_does_not_release_what_the_outer_run_holds(desk: Desk) -> None:
    gate = Gate()
    tool = agent(ModelDownError(), name="inner").as_tool("ask", "Ask.")
    beside = gate.tool("wait")
    running = desk.start(agent(calls(50, "ask", "wait", input="?"), says(60), tools=[tool, beside]))
    await gate.reached.wait()
    await until(lambda: len(desk.ledger.released) == 1, seconds=10)
    assert "wait" in {each.action["name"] for each in desk.ledger.active}
    gate.opened.set()
    await running
    assert await desk.charged() == (110, 2)


async def test_keys_do_not_collide_between_runs_without_tracing(desk: Desk) -> None:
    untraced = RunConfig(tracing_disabled=True)
    for _ in range(5):
        await Runner.run(
            agent(calls(10, "look_up"), says(20), tools=[look_up]), "x", hooks=desk.hooks, run_config=untraced
        )
    keys = [each.body["idempotency_key"] for each in desk.server.requests]
    assert len(keys) == len(set(keys)) == 5 * 6
    assert await desk.charged() == (150, 5)


async def test_a_cancel_during_a_commit_does_not_refund_what_is_spent(desk: Desk) -> None:
    with desk.server.hold("commit") as held:
        running = desk.start(agent(says(100)))
        await held.arrived()
        await cancelled(running)
    assert await desk.charged() == (100, 0)
    assert not desk.ledger.released


async def test_a_refused_overage_is_charged_and_not_just_released(server: LocalCycles) -> None:
    async with hooks_of(server, overage_policy="REJECT") as hooks:
        desk = Desk(server, hooks)
        await desk.run(agent(says(5_000)))
        assert await desk.charged() == (5_000, 0)


async def test_a_lost_reply_to_a_reserve_leaves_no_orphan(desk: Desk) -> None:
    desk.server.inject(Fault("reserve", drop="after", times=1))
    await desk.run(agent(says(100)))
    assert await desk.charged() == (100, 0)
    assert len(desk.ledger.reservations) == 1


async def test_a_page_of_a_proxy_is_not_taken_for_an_answer(server: LocalCycles) -> None:
    witness = Witness()
    async with hooks_of(server, recorder=witness.recorder) as hooks:
        server.inject(Fault("reserve", status=200, body=HTML, times=2))
        await Desk(server, hooks).run(agent(says(100)))
    assert witness.total(semconv.UNENFORCED_STEPS) == 1
    witness.close()


async def test_a_denial_of_a_tool_does_not_surface_as_a_user_error(desk: Desk) -> None:
    desk.server.set_budget("tenant:acme", "RISK_POINTS", allocated=0)
    counted = Counted()
    with pytest.raises(StepDeniedError) as denied:
        await desk.run(agent(calls(100, "work"), says(110), tools=[counted.tool]))
    assert not isinstance(denied.value, UserError)
    assert not counted.ran


async def test_a_shadow_stops_nothing_and_writes_nothing(server: LocalCycles) -> None:
    server.set_budget("tenant:acme", "TOKENS", allocated=0)
    async with hooks_of(server, dry_run=True) as hooks:
        helper = agent(says(20), name="helper")
        await Desk(server, hooks).run(
            agent(calls(100, "transfer_to_helper"), handoffs=[helper], name="triage"),
        )
    assert (server.ledger().reservations, server.ledger().events) == ((), ())


async def test_caps_are_not_ignored() -> None:
    caps = {"tool_denylist": ["work"]}
    budgets: dict[str, dict[str, Any]] = {
        "tenant:acme": {"RISK_POINTS": 100},
        "tenant:acme/agent:clerk": {"TOKENS": {"allocated": 10_000, "caps": caps}},
    }
    with LocalCycles(budgets=budgets) as server:
        counted = Counted()
        async with hooks_of(server) as hooks:
            with pytest.raises(StepDeniedError, match="TOOL_NOT_ALLOWED"):
                await Desk(server, hooks).run(agent(calls(100, "work"), says(110), tools=[counted.tool]))
        assert not counted.ran


async def test_the_guardrail_does_not_let_the_model_run_meanwhile(server: LocalCycles) -> None:
    guard = cycles_budget_guardrail(config=server.config(), unit="TOKENS", estimate=2_000_000)
    stopped = model(says(100))
    with pytest.raises(InputGuardrailTripwireTriggered):
        await Runner.run(Agent(name="clerk", model=stopped, input_guardrails=[guard]), "hello")
    assert not stopped.calls


class TestNothingIsLeftBehind:
    async def test_after_model_errors(self, server: LocalCycles) -> None:
        async with hooks_of(server, ttl_ms=1_000) as hooks:
            desk = Desk(server, hooks)
            for _ in range(20):
                with pytest.raises(ModelDownError):
                    await desk.run(agent(ModelDownError()))
            await desk.no_heartbeat_is_left()
        assert len(server.ledger().released) == 20

    async def test_after_a_pause_for_an_approval(self, server: LocalCycles) -> None:
        async with hooks_of(server, ttl_ms=1_000) as hooks:
            desk = Desk(server, hooks)
            result = await desk.run(agent(calls(100, "delete_account"), says(110), tools=[delete_account]))
            assert result.interruptions
            await desk.no_heartbeat_is_left()

    async def test_after_a_stream_that_nobody_reads(self, server: LocalCycles) -> None:
        async with hooks_of(server, ttl_ms=1_000) as hooks:
            desk = Desk(server, hooks)
            result = desk.stream(agent(calls(100, "look_up"), says(110), tools=[look_up]))
            assert result.run_loop_task is not None
            await asyncio.wait([result.run_loop_task])
            await desk.no_heartbeat_is_left()
            assert await desk.charged() == (210, 1)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "NOT_FOUND"),
        (410, "RESERVATION_EXPIRED"),
        (409, "RESERVATION_FINALIZED"),
        (409, "MAX_EXTENSIONS_EXCEEDED"),
    ],
)
async def test_no_heartbeat_goes_on_after_the_server_refused_for_good(
    server: LocalCycles, status: int, code: str
) -> None:
    body = {"error": code, "message": "made up", "request_id": "r"}
    server.inject(Fault("extend", status=status, body=body, times=None))
    gate = Gate()
    async with hooks_of(server, ttl_ms=1_000) as hooks:
        desk = Desk(server, hooks)
        running = desk.start(agent(gate.before(says(100))))
        await until(lambda: desk.sent("extend") == 1, seconds=10)
        await asyncio.sleep(1.1)  # Longer than a whole lease.
        assert desk.sent("extend") == 1
        gate.opened.set()
        await running
        assert await desk.charged() == (100, 0)


async def test_the_id_of_a_dead_object_is_not_taken_for_a_live_one(desk: Desk) -> None:
    for tokens in range(100, 130):
        await desk.run(agent(says(tokens)))
        gc.collect()  # The next run's objects may lie where this one's were.
    assert sorted(each.charged or 0 for each in desk.ledger.committed) == list(range(100, 130))


@pytest.mark.parametrize("name", ["Über Helper", "a" * 300, "客服", "🙂", "tab\tand\nline", " "])
async def test_no_name_of_an_agent_makes_each_call_a_400(desk: Desk, name: str) -> None:
    await desk.run(agent(calls(100, "look_up"), says(110), name=name, tools=[look_up]))
    assert await desk.charged() == (210, 1)
    assert {request.status for request in desk.server.requests} == {200}


async def test_the_timeouts_of_the_config_are_kept_to(server: LocalCycles) -> None:
    witness = Witness()
    config: Any = server.config(read_timeout=0.05, connect_timeout=0.05, retry_flush_timeout=0.1)
    async with hooks_of(server, config=config, recorder=witness.recorder) as hooks:
        with server.hold("reserve"):
            await Desk(server, hooks).run(agent(says(100)))
    assert witness.total(semconv.UNENFORCED_STEPS, error_type="timeout") == 1
    witness.close()


async def test_there_is_telemetry(server: LocalCycles) -> None:
    witness = Witness()
    async with hooks_of(server, recorder=witness.recorder) as hooks:
        await Desk(server, hooks).run(agent(says(100)))
    names = {span.name for span in witness.spans}
    assert {"reserve llm.completion", "commit llm.completion", "cycles.reservation llm.completion"} <= names
    assert witness.total(semconv.AMOUNT_COMMITTED_TOTAL) == 100
    witness.close()
