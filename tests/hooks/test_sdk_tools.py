"""Tools of the SDK that are no functions: each that runs in the program is governed, and charged once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from agents import (
    Agent,
    ApplyPatchTool,
    Computer,
    ComputerTool,
    CustomTool,
    LocalShellTool,
    Runner,
    ShellTool,
    Tool,
    WebSearchTool,
)
from agents.editor import ApplyPatchOperation
from openai.types.responses import (
    ResponseApplyPatchToolCall,
    ResponseComputerToolCall,
    ResponseCustomToolCall,
    ResponseFunctionShellToolCall,
    ResponseFunctionWebSearch,
)
from openai.types.responses.response_apply_patch_tool_call import OperationDeleteFile
from openai.types.responses.response_computer_tool_call import ActionScreenshot
from openai.types.responses.response_function_shell_tool_call import Action as ShellAction
from openai.types.responses.response_function_web_search import ActionSearch
from openai.types.responses.response_output_item import LocalShellCall, LocalShellCallAction

from cycles_otel import StepDeniedError
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.hooks.conftest import MakeHooks
from tests.hooks.desk import DONE, PricedModel
from tests.telemetry.witness import Witness, attributes

Ran = Callable[[], None]


class Screen(Computer):
    """A computer that only takes screenshots."""

    environment = "browser"
    dimensions = (800, 600)

    def __init__(self, ran: Ran) -> None:
        self._ran = ran

    def screenshot(self) -> str:
        self._ran()
        return "cGljdHVyZQ=="

    def click(self, x: int, y: int, button: str) -> None: ...

    def double_click(self, x: int, y: int) -> None: ...

    def scroll(self, x: int, y: int, scroll_x: int, scroll_y: int) -> None: ...

    def type(self, text: str) -> None: ...

    def wait(self) -> None: ...

    def move(self, x: int, y: int) -> None: ...

    def keypress(self, keys: list[str]) -> None: ...

    def drag(self, path: list[tuple[int, int]]) -> None: ...


class Editor:
    """An editor that only deletes."""

    def __init__(self, ran: Ran) -> None:
        self._ran = ran

    def delete_file(self, operation: ApplyPatchOperation) -> str:
        self._ran()
        return "deleted"

    create_file = update_file = delete_file


@dataclass(frozen=True)
class Case:
    """A tool of the SDK.

    Parameters
    ----------
    make: the tool, from what is called when it runs.
    call: the model's call of it, from the id of the call.
    has_call_id: whether hooks are told the id.
    """

    make: Callable[[Ran], Tool]
    call: Callable[[str], Any]
    has_call_id: bool = False


def custom(ran: Ran) -> Tool:
    async def invoke(context: Any, given: str) -> str:
        ran()
        return "done"

    return CustomTool(name="raw_query", description="Takes a text.", on_invoke_tool=invoke)


def shell(ran: Ran) -> Tool:
    def execute(request: Any) -> str:
        ran()
        return "done"

    return ShellTool(executor=execute)


def local_shell(ran: Ran) -> Tool:
    def execute(request: Any) -> str:
        ran()
        return "done"

    return LocalShellTool(executor=execute)


CASES = {
    "custom": Case(
        custom,
        lambda id: ResponseCustomToolCall(call_id=id, input="x", name="raw_query", type="custom_tool_call"),
        has_call_id=True,
    ),
    "shell": Case(
        shell,
        lambda id: ResponseFunctionShellToolCall(
            id=id, call_id=id, action=ShellAction(commands=["ls"]), status="completed", type="shell_call"
        ),
    ),
    "local shell": Case(
        local_shell,
        lambda id: LocalShellCall(
            id=id,
            call_id=id,
            action=LocalShellCallAction(command=["ls"], env={}, type="exec"),
            status="completed",
            type="local_shell_call",
        ),
    ),
    "apply patch": Case(
        lambda ran: ApplyPatchTool(editor=Editor(ran)),
        lambda id: ResponseApplyPatchToolCall(
            id=id,
            call_id=id,
            operation=OperationDeleteFile(path="a.txt", type="delete_file"),
            status="completed",
            type="apply_patch_call",
        ),
    ),
    "computer": Case(
        lambda ran: ComputerTool(computer=Screen(ran)),
        lambda id: ResponseComputerToolCall(
            id=id,
            call_id=id,
            action=ActionScreenshot(type="screenshot"),
            pending_safety_checks=[],
            status="completed",
            type="computer_call",
        ),
    ),
}
each_tool = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


class TestToolsThatRunHere:
    @each_tool
    async def test_each_call_is_reserved_and_charged_once(
        self, case: Case, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        runs: list[str] = []
        tool = case.make(lambda: runs.append("run"))
        model = PricedModel([case.call("first"), case.call("second")], DONE)
        hooks = make_hooks(tool_risk={tool.name: 7})
        await Runner.run(Agent(name="desk", model=model, tools=[tool]), "hello", hooks=hooks)
        assert runs
        charged = [each for each in server.ledger().reservations if each.unit == "RISK_POINTS"]
        assert [(each.status, each.charged) for each in charged] == [("COMMITTED", 7)] * 2
        for each in charged:
            assert (each.action["kind"], each.action["name"]) == ("tool.invoke", tool.name)
            assert each.subject["toolset"] == tool.name
        assert server.ledger().active == ()
        assert witness.total(semconv.UNENFORCED_STEPS) == 0
        lives = [attributes(span) for span in witness.spans if span.name == "cycles.reservation tool.invoke"]
        ids = {each.get("gen_ai.tool.call.id") for each in lives}
        assert ids == ({"first", "second"} if case.has_call_id else {None})

    @each_tool
    async def test_a_denial_stops_it(self, case: Case, server: LocalCycles, make_hooks: MakeHooks) -> None:
        server.set_budget("tenant:acme", "RISK_POINTS", allocated=0)
        runs: list[str] = []
        tool = case.make(lambda: runs.append("run"))
        model = PricedModel([case.call("first")], DONE)
        with pytest.raises(StepDeniedError, match="BUDGET_EXCEEDED"):
            await Runner.run(Agent(name="desk", model=model, tools=[tool]), "hello", hooks=make_hooks())
        assert runs == []
        assert server.ledger().active == ()


class TestToolsOfTheProvider:
    async def test_one_that_runs_there_is_part_of_the_llm_call(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        search = ResponseFunctionWebSearch(
            id="s", action=ActionSearch(query="x", type="search"), status="completed", type="web_search_call"
        )
        model = PricedModel([search, *DONE])
        await Runner.run(Agent(name="desk", model=model, tools=[WebSearchTool()]), "hello", hooks=make_hooks())
        assert [(each.unit, each.status) for each in server.ledger().reservations] == [("USD_MICROCENTS", "COMMITTED")]
