"""The assertions: when they hold, and what their failures say."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from agents import Runner

from cycles_otel import InvalidParameterError
from cycles_otel.local import LocalCycles
from cycles_otel.testing import (
    CyclesAssertionError,
    CyclesSpans,
    assert_allowed,
    assert_denied,
    assert_nothing_reserved,
    assert_spent,
)
from tests.run.desk import Gate, agent, calls, cancelled, hooks_of, says
from tests.testing.desk import email_budget, run_pytest, runs_pytest, send_emails


class TestDenied:
    @email_budget
    async def test_it_holds_for_the_first_that_was_denied(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        await send_emails(local_cycles, 5)
        denied = assert_denied(cycles_spans.of(agent="helper").tool_calls, at=3, reason="BUDGET_EXCEEDED")
        assert denied.tool == "send_email"
        assert assert_denied(cycles_spans.steps, at=6) == denied

    @email_budget
    @pytest.mark.parametrize(
        ("at", "reason", "message"),
        [
            (
                2,
                None,
                "not the 2nd, but the 3rd of 3 tool calls of agent='helper' was denied. What happened:\nrun",
            ),
            (11, None, "not the 11th, but the 3rd of 3 tool calls"),
            (21, None, "not the 21st, but the 3rd"),
            (3, "BUDGET_FROZEN", "the denial has the reason BUDGET_EXCEEDED, not BUDGET_FROZEN"),
        ],
    )
    async def test_a_denial_at_another_place_or_of_another_reason_fails(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans, at: int, reason: str | None, message: str
    ) -> None:
        await send_emails(local_cycles, 5)
        with pytest.raises(CyclesAssertionError, match=re.escape(message)):
            assert_denied(cycles_spans.of(agent="helper").tool_calls, at=at, reason=reason)

    @email_budget
    async def test_it_fails_where_none_was(self, local_cycles: LocalCycles, cycles_spans: CyclesSpans) -> None:
        await send_emails(local_cycles, 2)
        with pytest.raises(CyclesAssertionError, match="none of 2 tool calls was denied"):
            assert_denied(cycles_spans.tool_calls)
        with pytest.raises(CyclesAssertionError, match="none of 0 steps of agent='nobody' was denied"):
            assert_denied(cycles_spans.of(agent="nobody"))

    def test_steps_are_counted_from_1(self, cycles_spans: CyclesSpans) -> None:
        with pytest.raises(InvalidParameterError, match="at=0 is not accepted"):
            assert_denied(cycles_spans.steps, at=0)


class TestAllowed:
    @email_budget
    async def test_it_holds_where_all_went(self, local_cycles: LocalCycles, cycles_spans: CyclesSpans) -> None:
        await send_emails(local_cycles, 3)
        assert_allowed(cycles_spans.llm_calls)
        with pytest.raises(
            CyclesAssertionError, match=r"1 of 3 tool calls were denied\. What happened:\nrun helper: den"
        ):
            assert_allowed(cycles_spans.tool_calls)

    def test_it_fails_where_there_was_nothing_to_allow(self, cycles_spans: CyclesSpans) -> None:
        with pytest.raises(CyclesAssertionError, match="there were no tool calls of tool='send_mail'"):
            assert_allowed(cycles_spans.tool_calls.of(tool="send_mail"))


class TestMoney:
    @email_budget
    async def test_what_was_spent_is_compared_in_each_unit(self, local_cycles: LocalCycles) -> None:
        await send_emails(local_cycles, 1)
        assert_spent(local_cycles, RISK_POINTS=50, TOKENS=3)
        assert_spent(local_cycles, tenant="acme", RISK_POINTS=50)
        message = re.escape(
            "50 RISK_POINTS were spent, not 40. The ledger:\n"
            "tenant:acme: 50 spent, 0 reserved, 50 left of 100 RISK_POINTS\n"
            "tenant:acme: 3 spent, 0 reserved, 99,997 left of 100,000 TOKENS\n"
            "  committed llm.completion ScriptedModel by helper: 1 of 1,000 TOKENS\n"
            "  committed tool.invoke send_email by helper: 50 of 50 RISK_POINTS\n"
        )
        with pytest.raises(CyclesAssertionError, match=message):
            assert_spent(local_cycles, RISK_POINTS=40, TOKENS=3)

    def test_an_amount_must_be_given(self, local_cycles: LocalCycles) -> None:
        with pytest.raises(InvalidParameterError, match="at least one, as in RISK_POINTS=50"):
            assert_spent(local_cycles)

    async def test_a_settlement_in_the_background_is_waited_for(self, local_cycles: LocalCycles) -> None:
        async with hooks_of(local_cycles, settle_timeout=0.0) as hooks:
            with local_cycles.hold("commit") as held:
                await Runner.run(agent(says(70)), "hello", hooks=hooks)
                await held.arrived()
                assert local_cycles.ledger().charged("TOKENS") == 0
                asyncio.get_running_loop().run_in_executor(None, held.release)
            assert_spent(local_cycles, TOKENS=70)
            assert_nothing_reserved(local_cycles)

    async def test_what_is_held_is_found(self, local_cycles: LocalCycles) -> None:
        gate = Gate()
        async with hooks_of(local_cycles) as hooks:
            clerk = agent(calls(10, "wait"), says(20), tools=[gate.tool("wait")])
            running = asyncio.create_task(Runner.run(clerk, "hello", hooks=hooks))
            await gate.reached.wait()
            with pytest.raises(
                CyclesAssertionError, match=r"1 reservations are still open\. The ledger:\n(.*\n)* *active"
            ):
                assert_nothing_reserved(local_cycles, timeout=0.05)
            await cancelled(running)
            assert_nothing_reserved(local_cycles)


USERS_TEST = """
import pytest
from agents import Agent, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from cycles_otel import CyclesRunHooks, StepDeniedError
from cycles_otel.testing import assert_denied

hooks = None

@function_tool
def send_email(to: str) -> str:
    return "sent"

async def play(server, agent):
    script = [[function_call("send_email", {"to": "Ann"}, call_id=f"c{n}")] for n in range(3)]
    async with CyclesRunHooks(config=server.config(), tool_risk={"send_email": 50}) as hooks:
        with pytest.raises(StepDeniedError):
            await Runner.run(Agent(name=agent, model=ScriptedModel(script), tools=[send_email]), "hello", hooks=hooks)

pytestmark = pytest.mark.local_cycles(budgets={"tenant:acme": {"USD_MICROCENTS": 10_000_000, "RISK_POINTS": 100}})
"""


@runs_pytest
class TestUnderPytest:
    def test_a_failure_shows_what_happened(self, tmp_path: Path) -> None:
        run = run_pytest(
            tmp_path,
            USERS_TEST + "async def test_it(local_cycles, cycles_spans, cycles_metrics):\n"
            "    await play(local_cycles, 'helper')\n"
            "    assert cycles_spans.of(agent='helper').tool_calls[1].denied\n",
        )
        assert "1 failed" in run.stdout, run.stdout + run.stderr
        assert "where False = Step(kind='tool.invoke', agent='helper', tool='send_email'" in run.stdout
        for section in (
            "- cycles_spans -{10,}\nrun helper: denied\n  llm ScriptedModel by helper: committed",
            "- cycles_metrics -{10,}\ncycles_budget_allocated",
            "- local_cycles -{10,}\ntenant:acme: 100 spent, 0 reserved, 0 left of 100 RISK_POINTS",
        ):
            assert re.search(section, run.stdout), run.stdout

    def test_an_assertion_says_it_once_and_points_at_the_test(self, tmp_path: Path) -> None:
        run = run_pytest(
            tmp_path,
            USERS_TEST + "async def test_it(local_cycles, cycles_spans):\n"
            "    await play(local_cycles, 'helper')\n"
            "    assert_denied(cycles_spans.tool_calls, at=2)\n",
        )
        assert "not the 2nd, but the 3rd of 3 tool calls was denied. What happened:" in run.stdout, run.stdout
        assert run.stdout.count("run helper: denied") == 1
        assert "assertions.py" not in run.stdout.split("short test summary")[0].replace("testing.assertions.", "")

    def test_a_program_that_set_up_telemetry_is_seen_and_sends_nothing(self, tmp_path: Path) -> None:
        run = run_pytest(
            tmp_path,
            USERS_TEST + "from cycles_otel import setup_telemetry\n"
            "from opentelemetry import trace\n"
            "from opentelemetry.sdk.trace import TracerProvider\n"
            "trace.set_tracer_provider(TracerProvider())\n"
            "setup_telemetry('desk', prometheus_port=None, otlp_endpoint='http://127.0.0.1:9')\n"
            "async def test_it(local_cycles, cycles_spans, cycles_metrics):\n"
            "    await play(local_cycles, 'helper')\n"
            "    assert_denied(cycles_spans.tool_calls, at=3)\n"
            "    assert cycles_metrics.value('cycles_client_denials_total') == 1\n"
            "    assert trace.get_tracer_provider().force_flush()\n",
        )
        assert "1 passed" in run.stdout, run.stdout + run.stderr
        assert "Connection refused" not in run.stdout + run.stderr

    def test_many_at_once_see_each_only_its_own(self, tmp_path: Path) -> None:
        run = run_pytest(
            tmp_path,
            USERS_TEST + "@pytest.mark.parametrize('number', range(8))\n"
            "async def test_it(local_cycles, cycles_spans, cycles_metrics, number):\n"
            "    await play(local_cycles, f'agent-{number}')\n"
            "    assert {step.agent for step in cycles_spans.steps} == {f'agent-{number}'}\n"
            "    assert cycles_metrics.value('cycles_client_denials_total') == 1\n"
            "    assert_denied(cycles_spans.tool_calls, at=3)\n",
            *("-n", "2"),
        )
        assert "8 passed" in run.stdout, run.stdout + run.stderr

    def test_a_test_without_the_fixtures_fails_as_ever(self, tmp_path: Path) -> None:
        run = run_pytest(tmp_path, "def test_it():\n    assert 1 == 2\n")
        assert "1 failed" in run.stdout
        assert "cycles" not in run.stdout.split("short test summary")[0].replace(str(tmp_path), "")
