"""Several hooks objects as one, since a run of the SDK takes only one."""

from __future__ import annotations

from typing import Any

from agents import Agent, RunContextWrapper, RunHooks, Tool
from agents.items import ModelResponse, TResponseInputItem
from agents.lifecycle import RunHooksBase

from cycles_otel.errors import InvalidParameterError, InvalidParameterTypeError
from cycles_otel.run import GoverningHooks, HooksWithGoverning


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
        flat = [inner for each in hooks for inner in (each.hooks if isinstance(each, HookChain) else (each,))]
        governing = [each for each in flat if isinstance(each, GoverningHooks)]
        if len(governing) > 1:
            raise InvalidParameterError("hooks", hooks, "at most one CyclesRunHooks: a step has one budget")
        others = [each for each in flat if each not in governing]
        self.hooks: tuple[RunHooks[Any], ...] = tuple(flat)
        self.governing = governing[0] if governing else None
        self._before = (*others, *governing)
        self._after = (*governing, *others)

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        for each in self._before:
            await each.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        for each in self._after:
            await each.on_llm_end(context, agent, response)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Any, tool: Tool) -> None:
        for each in self._before:
            await each.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: RunContextWrapper[Any], agent: Any, tool: Tool, result: object) -> None:
        for each in self._after:
            await each.on_tool_end(context, agent, tool, result)

    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Any, to_agent: Any) -> None:
        for each in self._after:
            # By keyword, as the SDK itself calls this one.
            await each.on_handoff(context=context, from_agent=from_agent, to_agent=to_agent)

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        for each in self._before:
            await each.on_agent_start(context, agent)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        for each in self._after:
            await each.on_agent_end(context, agent, output)
