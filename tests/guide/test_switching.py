"""Programs for ``runcycles-openai-agents`` run with another import, and are told by what to replace its names."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import Agent, Runner, RunResultStreaming
from runcycles import Unit

import cycles_otel
from cycles_otel import CyclesUnavailableError, InvalidParameterError
from cycles_otel import runcycles_openai_agents as old
from cycles_otel.local import LocalCycles
from cycles_otel.testing import assert_nothing_reserved
from tests.guide import programs
from tests.guide.conftest import Models
from tests.hooks.desk import DONE, CountingTool, calling


class Program:
    """A program of which only the import is changed, and what it was told while it ran."""

    def __init__(self, **names: Any) -> None:
        self.names = {"seen": [], **names}
        self.notes: list[str] = []

    async def run(self, source: str) -> None:
        """Run it to its end."""
        assert programs.THEIR_PACKAGE in source
        switched = source.replace(programs.THEIR_PACKAGE, f"from {old.__name__} import")
        code = compile(switched, "<program>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            done = eval(code, self.names)
            if inspect.isawaitable(done):
                await done
        notes = [each for each in caught if issubclass(each.category, DeprecationWarning)]
        assert {each.filename for each in notes} <= {"<program>"}, notes
        self.notes = [str(each.message) for each in notes]

    def was_told(self, *words: str) -> bool:
        """Whether one note has all these words."""
        return any(all(word in note for word in words) for note in self.notes)


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    program = Program(agent=Agent(name="resolver"))
    yield program
    if "hooks" in program.names:
        await program.names["hooks"].aclose()


def test_every_program_is_run_here() -> None:
    written = {name for name in vars(programs) if name.isupper()} - {"THEIR_PACKAGE"}
    source = inspect.getsource(sys.modules[__name__])
    assert {name for name in written if f"program.run(programs.{name})" in source} == written


async def test_a_run_by_the_hooks_is_a_governed_run(program: Program, server: LocalCycles, models: Models) -> None:
    program.names["tools"] = _answering(models, "send_email", "update_crm", "search")
    await program.run(programs.RUN)
    assert program.names["result"].final_output == "done"
    assert _points(server) == {"send_email": ("tool.invoke", 50), "update_crm": ("tool.invoke", 10)}
    assert server.requests[0].operation == "decide"
    assert {each.subject["app"] for each in server.ledger().committed} == {"desk"}
    assert program.was_told("hooks.run(agent, …)", "Runner.run(agent, …, hooks=hooks)")
    assert program.was_told("tool_estimates", "tool_risk")


async def test_the_one_line_is_one(program: Program, server: LocalCycles, models: Models) -> None:
    await program.run(programs.ONE_LINE)
    assert [each.operation for each in server.requests] == ["reserve", "commit"]


async def test_a_stream_is_the_sdks_own(program: Program, server: LocalCycles, models: Models) -> None:
    program.names["agent"] = Agent(name="resolver", model=models.model)
    await program.run(programs.STREAM)
    assert program.names["seen"]
    assert_nothing_reserved(server)
    assert len(server.ledger().committed) == 1
    assert program.was_told("hooks.run_streamed(agent, …)", "Runner.run_streamed(agent, …, hooks=hooks)")
    assert program.was_told("run_id", "cycles.run.id")


async def test_estimates_are_risk_points(program: Program, server: LocalCycles, models: Models) -> None:
    tools = _answering(models, "send_email", "update_crm", "search", "other")
    program.names["agent"] = Agent(name="resolver", tools=tools)
    await program.run(programs.ESTIMATES)
    assert _points(server) == {
        "send_email": ("tool.invoke", 50),
        "update_crm": ("tool.crm.update", 10),
        "other": ("tool.invoke", 3),
    }
    assert program.was_told("ToolEstimateMap", "cycles_otel.ToolRiskMap(default_risk=…)")
    assert program.was_told("ToolEstimateConfig", "cycles_otel.ToolRiskConfig(risk_points=…)")


async def test_every_option_is_accepted(program: Program, server: LocalCycles, models: Models) -> None:
    program.names["agent"] = Agent(name="resolver", tools=_answering(models, "send_email", "other"))
    await program.run(programs.ALL_OPTIONS)
    assert _points(server) == {"send_email": ("tool.invoke", 50), "other": ("tool.invoke", 2)}
    llm_call = next(each for each in server.ledger().committed if each.unit == "USD_MICROCENTS")
    assert llm_call.reserved == 400_000
    levels = {"tenant": "acme", "workspace": "prod", "app": "desk", "workflow": "refunds", "agent": "resolver"}
    assert llm_call.subject.items() >= levels.items()
    for name in ("heartbeat_max_age_ms", "heartbeat_max_extensions", "commit_max_attempts"):
        assert program.was_told(name, "leave it out")
    assert not program.was_told("retry_engine")


async def test_what_is_pending_is_given_back(program: Program, server: LocalCycles, models: Models) -> None:
    models.answer(ConnectionError("the model is down"))
    await program.run(programs.CLEAN_UP)
    assert server.ledger().active == ()
    assert [each.status for each in server.ledger().reservations] == ["RELEASED"]
    assert program.was_told("release_all_pending()", "aclose()")
    assert program.was_told("release_pending(run_id=…)")


async def test_a_denial_is_the_exception_that_it_was(program: Program, server: LocalCycles, models: Models) -> None:
    server.set_budget("tenant:acme", allocated=0)
    await program.run(programs.DENIED)
    assert len(program.names["seen"]) == 1
    assert models.model.calls == ()


async def test_hooks_for_a_type_of_context(program: Program, server: LocalCycles, models: Models) -> None:
    await program.run(programs.TYPED)
    assert len(server.ledger().committed) == 1


class TestDefaults:
    """A switch changes no default that guards money."""

    async def test_hooks_stay_fail_closed(self, server: LocalCycles, models: Models) -> None:
        hooks = old.CyclesRunHooks[None](tenant="acme")
        server.stop()
        with pytest.raises(CyclesUnavailableError):
            await Runner.run(Agent(name="helper"), "hello", hooks=hooks)
        assert models.model.calls == ()
        await hooks.aclose()

    async def test_a_guardrail_asks_for_nothing_by_default(self, server: LocalCycles, models: Models) -> None:
        guard = old.cycles_budget_guardrail(tenant="acme")
        assert guard.get_name() == "cycles_budget"
        await Runner.run(Agent(name="helper", input_guardrails=[guard]), "hello")
        assert [each.body["estimate"]["amount"] for each in server.requests] == [0]

    def test_an_estimate_is_0_and_a_default_estimate_1(self) -> None:
        with pytest.deprecated_call():
            assert old.ToolEstimateConfig().estimate == 0
        with pytest.deprecated_call():
            assert old.ToolEstimateMap().get("any").estimate == 1


class TestEstimates:
    def test_a_map_answers_as_it_did(self) -> None:
        with pytest.deprecated_call():
            estimates = old.ToolEstimateMap({"send_email": 50, "search": 0}, default_estimate=2)
        assert (estimates.get("send_email").estimate, estimates.get("other").estimate) == (50, 2)
        assert estimates.get("send_email").action_kind == estimates.default.action_kind == "tool.invoke"
        assert estimates.get("send_email").unit is estimates.default.unit is Unit.RISK_POINTS
        assert estimates.is_zero_estimate("search")
        assert not estimates.is_zero_estimate("other")
        assert set(estimates.mapping) == {"send_email", "search"}

    def test_new_hooks_take_an_old_map(self, server: LocalCycles) -> None:
        with pytest.deprecated_call():
            estimates = old.ToolEstimateMap({"send_email": 50})
        cycles_otel.CyclesRunHooks(tenant="acme", tool_risk=estimates)

    @pytest.mark.parametrize("unit", [Unit.TOKENS, "USD_MICROCENTS"])
    def test_another_unit_is_refused(self, unit: Unit | str) -> None:
        with pytest.deprecated_call(), pytest.raises(InvalidParameterError, match=r"unit=.*RISK_POINTS: a tool call"):
            old.ToolEstimateConfig(estimate=1, unit=unit)
        with pytest.deprecated_call(), pytest.raises(InvalidParameterError, match="default_unit="):
            old.ToolEstimateMap(default_unit=unit)


class TestWhatDoesNotFit:
    def test_a_toolset_is_refused(self, server: LocalCycles) -> None:
        with pytest.raises(InvalidParameterError, match="toolset='crm' is not accepted"):
            old.CyclesRunHooks[None](tenant="acme", toolset="crm")

    async def test_a_run_has_the_hooks_that_make_it(self, server: LocalCycles) -> None:
        hooks = old.CyclesRunHooks[None](tenant="acme")
        with pytest.deprecated_call(), pytest.raises(InvalidParameterError, match=r"run\(\) gives its own hooks"):
            await hooks.run(Agent(name="a"), "hello", hooks=hooks)
        with pytest.deprecated_call(), pytest.raises(ValueError, match=r"run_streamed\(\) gives its own hooks"):
            hooks.run_streamed(Agent(name="a"), "hello", hooks=hooks)


def test_the_import_says_that_it_is_for_a_switch() -> None:
    code = f"from {old.__name__} import ToolEstimateMap, CyclesRunResultStreaming"
    run = subprocess.run(
        [sys.executable, "-W", "always::DeprecationWarning:__main__", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "docs/migrating.md" in run.stderr
    assert old.CyclesRunResultStreaming is RunResultStreaming


def test_the_package_itself_does_not_have_the_old_names() -> None:
    assert not set(dir(cycles_otel)) & {"ToolEstimateMap", "ToolEstimateConfig", "CyclesRunResultStreaming"}


def _answering(models: Models, *names: str) -> list[Any]:
    """Tools of these names, which the model calls in one turn."""
    models.answer(calling(*names), DONE)
    return [CountingTool(name).tool for name in names]


def _points(server: LocalCycles) -> dict[str, tuple[str, int]]:
    charged = [each for each in server.ledger().committed if each.unit == "RISK_POINTS"]
    return {each.action["name"]: (each.action["kind"], each.charged or 0) for each in charged}
