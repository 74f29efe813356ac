"""HookChain: a user's own hooks beside those that govern."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import Any

import pytest
from agents import Agent, RunHooks, Runner, handoff

from cycles_otel import CyclesRunHooks, HookChain, InvalidParameterError, StepDeniedError
from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.local import LocalCycles
from tests.hooks.conftest import MakeHooks
from tests.hooks.construction import hooks as made_only
from tests.hooks.desk import COST, DONE, CountingTool, PricedModel, agent, calling

CALLBACKS = (
    "on_agent_start",
    "on_llm_start",
    "on_llm_end",
    "on_tool_start",
    "on_tool_end",
    "on_handoff",
    "on_agent_end",
)


class Diary(RunHooks[Any]):
    """Notes each callback with its arguments, in a list that several may share; fails at one if told so."""

    def __init__(self, pages: list[Any] | None = None, name: str = "", fails_at: str | None = None) -> None:
        self.pages: list[Any] = [] if pages is None else pages
        self.name = name
        self.fails_at = fails_at

    async def _note(self, callback: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.pages.append((self.name, callback, args, kwargs))
        if callback == self.fails_at:
            raise LookupError(callback)

    @property
    def callbacks(self) -> list[str]:
        return [callback for _, callback, _, _ in self.pages]


def _noting(callback: str) -> Any:
    async def note(self: Diary, *args: Any, **kwargs: Any) -> None:
        await self._note(callback, args, kwargs)

    return note


for _callback in CALLBACKS:
    setattr(Diary, _callback, _noting(_callback))


def desk(tool: CountingTool) -> Agent[Any]:
    """An agent that calls a tool, then hands over."""
    starting = agent(PricedModel(calling("lookup"), calling("go")), tool)
    starting.handoffs = [handoff(agent(PricedModel(DONE), name="billing"), tool_name_override="go")]
    return starting


class Waiting(RunHooks[Any]):
    """Hooks whose callback is left half way."""

    async def on_llm_start(self, *_: Any) -> None:
        await asyncio.sleep(0)


def test_a_callback_that_is_collected_half_way_ends_in_whatever_context_that_happens() -> None:
    nothing: Any = None
    callback = HookChain(Waiting()).on_llm_start(nothing, nothing, None, [])
    copy_context().run(callback.send, None)
    callback.close()


class TestBoth:
    async def test_a_user_s_hooks_are_called_as_if_they_were_alone(self, make_hooks: MakeHooks) -> None:
        alone, chained = Diary(), Diary()
        await Runner.run(desk(CountingTool()), "hello", hooks=alone)
        await Runner.run(desk(CountingTool()), "hello", hooks=HookChain(make_hooks(), chained))

        def shape(diary: Diary) -> list[Any]:
            return [
                (callback, [type(each) for each in args], {name: type(each) for name, each in kwargs.items()})
                for _, callback, args, kwargs in diary.pages
            ]

        assert shape(chained) == shape(alone)
        assert set(chained.callbacks) == set(CALLBACKS)
        (told,) = [kwargs for _, callback, _, kwargs in chained.pages if callback == "on_handoff"]
        assert (told["from_agent"].name, told["to_agent"].name) == ("desk", "billing")

    async def test_ours_see_everything_too(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        tool = CountingTool()
        await Runner.run(desk(tool), "hello", hooks=HookChain(Diary(), make_hooks()))
        ledger = server.ledger()
        assert (ledger.charged(), ledger.charged("RISK_POINTS"), len(ledger.events)) == (3 * COST, 1, 1)
        assert (tool.calls, ledger.active) == (1, ())

    async def test_a_chain_without_ours_governs_nothing(self, server: LocalCycles) -> None:
        diary = Diary()
        await Runner.run(desk(CountingTool()), "hello", hooks=HookChain(diary))
        assert set(diary.callbacks) == set(CALLBACKS)
        assert server.requests == ()


class TestOrder:
    async def test_users_hooks_are_called_in_the_order_given(self, make_hooks: MakeHooks) -> None:
        pages: list[Any] = []
        chain = HookChain(Diary(pages, "a"), make_hooks(), HookChain(Diary(pages, "b"), Diary(pages, "c")))
        await Runner.run(agent(PricedModel(DONE)), "hello", hooks=chain)
        assert [name for name, callback, _, _ in pages if callback == "on_llm_start"] == ["a", "b", "c"]
        assert [name for name, callback, _, _ in pages if callback == "on_llm_end"] == ["a", "b", "c"]

    @pytest.mark.parametrize("ours_first", [True, False])
    async def test_budget_is_asked_for_after_the_user_s_hooks(
        self, ours_first: bool, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        asked: list[int] = []

        class Watching(RunHooks[Any]):
            async def on_llm_start(self, *_: Any) -> None:
                asked.append(len(server.requests))

        both = [make_hooks(), Watching()]
        await Runner.run(agent(PricedModel(DONE)), "hello", hooks=HookChain(*(both if ours_first else both[::-1])))
        assert asked == [0]


class TestDenial:
    @pytest.mark.parametrize("unit", ["USD_MICROCENTS", "RISK_POINTS"])
    async def test_one_by_ours_stops_the_step(self, unit: str, server: LocalCycles, make_hooks: MakeHooks) -> None:
        server.set_budget("tenant:acme", unit, status="FROZEN")
        model, tool, diary = PricedModel(calling("lookup")), CountingTool(), Diary()
        with pytest.raises(StepDeniedError, match="BUDGET_FROZEN"):
            await Runner.run(agent(model, tool), "hello", hooks=HookChain(make_hooks(), diary))
        assert (len(model.calls), tool.calls) == (0 if unit == "USD_MICROCENTS" else 1, 0)
        assert "on_tool_end" not in diary.callbacks


class TestFailure:
    @pytest.mark.parametrize(
        ("callback", "calls", "points"),
        [
            ("on_agent_start", 0, 0),
            ("on_llm_start", 0, 0),
            ("on_llm_end", 1, 0),
            ("on_tool_start", 1, 0),
            ("on_tool_end", 1, 1),
            ("on_handoff", 2, 1),
            ("on_agent_end", 3, 1),
        ],
    )
    async def test_what_was_used_is_charged_and_nothing_is_held(
        self, callback: str, calls: int, points: int, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        chain = HookChain(Diary(fails_at=callback), make_hooks())
        with pytest.raises(Exception, match=callback):
            await Runner.run(desk(CountingTool()), "hello", hooks=chain)
        ledger = server.ledger()
        assert (ledger.charged(), ledger.charged("RISK_POINTS")) == (calls * COST, points)
        assert ledger.active == ()


class TestConstruction:
    def test_two_that_govern_are_refused(self) -> None:
        chained = HookChain(made_only())
        for one, other in (
            (made_only(), made_only()),
            (chained, made_only()),
            (made_only(), made_only().bind(workflow="other")),
        ):
            with pytest.raises(InvalidParameterError, match="at most one CyclesRunHooks"):
                HookChain(one, other)

    @pytest.mark.parametrize("value", [None, "hooks", CyclesRunHooks, object()])
    def test_what_is_no_hooks_object_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidParameterTypeError, match=r"agents\.RunHooks"):
            HookChain(made_only(), value)
