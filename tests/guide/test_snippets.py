"""Every snippet of the guide runs as it is written, with only the package's name changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from agents import Agent, InputGuardrailTripwireTriggered, Runner
from agents.models import get_default_model

from cycles_otel.local import LocalCycles
from tests.guide import snippets
from tests.guide.conftest import Guide, Models
from tests.hooks.desk import DONE, CountingTool, calling


def test_every_snippet_is_run_here() -> None:
    written = {name for name in vars(snippets) if name.isupper()} - {"PACKAGE_OF_THE_GUIDE"}
    tests = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in written if f"guide.types(snippets.{name}" in tests} == written


async def test_the_quick_start_is_guarded(
    guide: Guide, server: LocalCycles, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    await guide.types(snippets.QUICK_START)
    assert capsys.readouterr().out == "done\n"
    assert [each.operation for each in server.requests] == ["reserve", "commit"]
    (charged,) = server.ledger().committed
    assert charged.subject["agent"] == "helper"
    assert (charged.action["kind"], charged.action["name"]) == ("llm.completion", get_default_model())
    assert charged.reserved == 500_000


async def test_settings_can_come_from_a_vault(
    guide: Guide, server: LocalCycles, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CYCLES_BASE_URL")
    monkeypatch.delenv("CYCLES_API_KEY")
    vault = {"cycles_base_url": server.url, "cycles_api_key": server.api_key}
    await guide.types(snippets.CONFIG, load_from_vault=vault.__getitem__)
    await Runner.run(Agent(name="helper"), "hello", hooks=guide.hooks)
    assert len(server.ledger().committed) == 1


async def test_the_risk_map_makes_risky_tools_dear_and_free_ones_silent(
    guide: Guide, server: LocalCycles, models: Models
) -> None:
    await guide.types(snippets.TOOL_RISK_MAP)
    names = ("send_email", "update_crm", "search_knowledge", "unmapped")
    await _call(guide, models, *names)
    assert _points(server) == {
        "send_email": ("tool.invoke", 50),
        "update_crm": ("tool.crm.update", 10),
        "unmapped": ("tool.invoke", 1),
    }


async def test_a_simple_dict_does_too(guide: Guide, server: LocalCycles, models: Models) -> None:
    await guide.types(snippets.TOOL_RISK_DICT)
    await _call(guide, models, "send_email", "search", "unmapped")
    assert _points(server) == {"send_email": ("tool.invoke", 50), "unmapped": ("tool.invoke", 1)}


async def test_the_guardrail_lets_an_agent_start_whose_budget_suffices(
    guide: Guide, server: LocalCycles, models: Models
) -> None:
    await guide.types(snippets.GUARDRAIL)
    await Runner.run(guide.names["agent"], "hello")
    (asked,) = server.requests
    assert (asked.operation, asked.body["estimate"]["amount"]) == ("decide", 5_000_000)
    assert asked.body["subject"] == {"tenant": "acme", "agent": "support-bot"}


@pytest.mark.parametrize("trouble", ["exhausted", "suspended"])
async def test_the_guardrail_trips_and_no_token_is_consumed(
    trouble: str, guide: Guide, server: LocalCycles, models: Models
) -> None:
    await guide.types(snippets.GUARDRAIL)
    if trouble == "exhausted":
        server.set_budget("tenant:acme", allocated=0)
    else:
        server.set_tenant("acme", "SUSPENDED")
    with pytest.raises(InputGuardrailTripwireTriggered):
        await Runner.run(guide.names["agent"], "hello")
    assert models.model.calls == ()


async def test_the_guardrail_lets_it_start_while_the_server_is_down(
    guide: Guide, server: LocalCycles, models: Models
) -> None:
    await guide.types(snippets.GUARDRAIL)
    server.stop()
    result = await Runner.run(guide.names["agent"], "hello")
    assert result.final_output == "done"


async def test_a_denial_is_caught_as_the_exception_of_runcycles(
    guide: Guide, server: LocalCycles, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    await guide.types(snippets.QUICK_START)
    server.set_budget("tenant:acme", allocated=0)
    capsys.readouterr()
    await guide.types(snippets.DENIED)
    assert capsys.readouterr().out.startswith("Budget denied: The LLM call ")
    assert len(models.model.calls) == 1


async def test_pending_reservations_are_free_after_a_failure(guide: Guide, server: LocalCycles, models: Models) -> None:
    await guide.types(snippets.QUICK_START)
    models.answer(ConnectionError("the model is down"))
    with pytest.raises(ConnectionError, match="the model is down"):
        await guide.types(snippets.RELEASE_PENDING)
    assert server.ledger().active == ()
    assert [each.status for each in server.ledger().reservations] == ["COMMITTED", "RELEASED"]


@pytest.mark.parametrize("fails_open", [True, False])
async def test_fail_open_is_the_default_and_fail_closed_is_strict(
    fails_open: bool, guide: Guide, server: LocalCycles, models: Models
) -> None:
    if fails_open:
        await guide.types(snippets.TOOL_RISK_DICT)
    else:
        await guide.types(snippets.FAIL_CLOSED)
    server.stop()
    if fails_open:
        assert (await Runner.run(Agent(name="helper"), "hello", hooks=guide.hooks)).final_output == "done"
        return
    with pytest.raises(Exception, match="fail_open=False"):
        await Runner.run(Agent(name="helper"), "hello", hooks=guide.hooks)
    assert models.model.calls == ()


async def _call(guide: Guide, models: Models, *names: str) -> None:
    """Let an agent call tools of these names, in one turn."""
    models.answer(calling(*names), DONE)
    tools = [CountingTool(name) for name in names]
    await Runner.run(Agent(name="helper", tools=[each.tool for each in tools]), "hello", hooks=guide.hooks)
    assert [each.calls for each in tools] == [1] * len(names)


def _points(server: LocalCycles) -> dict[str, tuple[str, int]]:
    charged = [each for each in server.ledger().committed if each.unit == "RISK_POINTS"]
    return {each.action["name"]: (each.action["kind"], each.charged or 0) for each in charged}
