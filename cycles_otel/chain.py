"""Several hooks objects as one, since a run of the SDK takes only one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from operator import is_
from typing import Any, Concatenate, ParamSpec, TypeVar

from agents import Agent, RunContextWrapper, RunHooks, Tool
from agents.items import ModelResponse, TResponseInputItem
from agents.lifecycle import RunHooksBase

from cycles_otel.errors import InvalidParameterError, InvalidParameterTypeError
from cycles_otel.run import GoverningHooks, HooksWithGoverning, governing_among

P = ParamSpec("P")
Governing = TypeVar("Governing", bound=GoverningHooks)

_told: ContextVar[list[tuple[object, ...]] | None] = ContextVar("cycles_otel_told", default=None)


class HookChain(HooksWithGoverning):
    """A user's own hooks beside those that govern: ``HookChain(CyclesRunHooks(...), MyHooks())``.

    Before a step the governing hooks are called last, so that nothing is held for a step that another hook stops;
    after it they are called first, so that a spend is known whatever another hook does. Otherwise the order is as
    given.

    Raises ``InvalidParameterError`` where more than one of them governs.
    """

    def __init__(self, *hooks: RunHooks[Any]) -> None:
        for each in hooks:
            if not isinstance(each, RunHooksBase):
                raise InvalidParameterTypeError("hooks", each, "objects derived from agents.RunHooks")
        # A class that was derived from this one may do more than to call what it has.
        flat = [inner for each in hooks for inner in (each.hooks if type(each) is HookChain else (each,))]
        governing = [each for each in flat if governing_among(each) is not None]
        if len(governing) > 1:
            raise InvalidParameterError("hooks", hooks, "at most one CyclesRunHooks: a step has one budget")
        others = [each for each in flat if each not in governing]
        self.hooks: tuple[RunHooks[Any], ...] = tuple(flat)
        self.governing = governing_among(governing[0]) if governing else None
        self._before = (*others, *governing)
        self._after = (*governing, *others)

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        with _one_callback():
            for each in self._before:
                await each.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        with _one_callback():
            for each in self._after:
                await each.on_llm_end(context, agent, response)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Any, tool: Tool) -> None:
        with _one_callback():
            for each in self._before:
                await each.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: RunContextWrapper[Any], agent: Any, tool: Tool, result: object) -> None:
        with _one_callback():
            for each in self._after:
                await each.on_tool_end(context, agent, tool, result)

    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Any, to_agent: Any) -> None:
        with _one_callback():
            for each in self._after:
                # By keyword, as the SDK itself calls this one.
                await each.on_handoff(context=context, from_agent=from_agent, to_agent=to_agent)

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        for each in self._before:
            await each.on_agent_start(context, agent)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        for each in self._after:
            await each.on_agent_end(context, agent, output)


def once_in_a_callback(
    callback: Callable[Concatenate[Governing, P], Coroutine[Any, Any, None]],
) -> Callable[Concatenate[Governing, P], Coroutine[Any, Any, None]]:
    """A callback of governing hooks that may be reached twice: by a chain, and by hooks in it that call it themselves.

    The same call, known by the objects that it is made with, is made again only where it came to no end before.
    """

    @functools.wraps(callback)
    async def told(hooks: Governing, /, *args: P.args, **named: P.kwargs) -> None:
        before, this = _told.get(), (callback, hooks.observer, *args, *named.values())
        if before is not None and any(len(each) == len(this) and all(map(is_, each, this)) for each in before):
            return
        await callback(hooks, *args, **named)
        if before is not None:
            before.append(this)

    return told


@contextmanager
def _one_callback() -> Iterator[None]:
    """Around all calls that one callback of the SDK leads to; a chain in a chain belongs to that of the outer one."""
    if _told.get() is not None:
        yield
        return
    token = _told.set([])
    try:
        yield
    finally:
        # A run that is collected ends in whatever context that happens.
        with suppress(ValueError):
            _told.reset(token)
