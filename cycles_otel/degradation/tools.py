"""Tools that can be left out: what hooks cannot keep from running, a governed tool does not run."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any

from agents import FunctionTool
from agents.tool import invoke_function_tool
from agents.tool_context import ToolContext

from cycles_otel.degradation.proxy import Proxy
from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.run import current_scope

Invoke = Callable[[ToolContext[Any], str], Awaitable[Any]]


class GovernedInvoker(Proxy):
    """Invokes a tool, unless its call was disabled: then the model reads why."""

    async def __call__(self, context: ToolContext[Any], arguments: str) -> Any:
        scope = current_scope()
        message = scope.disabled_message(context.tool_call_id) if scope is not None else None
        return await self.__wrapped__(context, arguments) if message is None else message

    def __agents_bind_function_tool__(self, tool: FunctionTool) -> GovernedInvoker:
        """The SDK binds the invoker of a tool to each copy that it makes of it."""
        bind = getattr(self.__wrapped__, "__agents_bind_function_tool__", None)
        return self if bind is None else GovernedInvoker(bind(tool))


def governed_tool(tool: FunctionTool) -> FunctionTool:
    """A copy of the tool that ``Disable`` can keep from running; the tool itself stays as it is.

    It takes any function tool, of ``@function_tool`` or ``agent.as_tool(...)`` too. Raises ``InvalidParameterError``
    for a tool of another kind.
    """
    if not isinstance(tool, FunctionTool):
        raise InvalidParameterTypeError("tool", tool, "an agents.FunctionTool")
    governed = copy.copy(tool)
    if not is_governed(governed):
        governed.on_invoke_tool = GovernedInvoker(_invoker(governed))
    return governed


def is_governed(tool: object) -> bool:
    """Whether the tool is one of ``governed_tool``, or a copy of one that the SDK has made."""
    return isinstance(tool, FunctionTool) and isinstance(tool.on_invoke_tool, GovernedInvoker)


def missing_for_disable(bracketed: bool, tool: object) -> str | None:
    """What keeps a tool from being left out, in words; None if nothing does."""
    if not bracketed:
        return "cannot be carried out outside of a run of Runner.run, run_sync or run_streamed"
    if is_governed(tool):
        return None
    name = getattr(tool, "name", type(tool).__name__)
    if isinstance(tool, FunctionTool):
        return (
            f"needs tools that can be left out: wrap {name!r}, as in tools=[governed_tool(tool)] "
            "(for a tool of an MCP server, let a function choose another policy)"
        )
    return f"cannot be applied to {name!r}, which is no function tool: let a function choose another policy for it"


def _invoker(tool: FunctionTool) -> Invoke:
    """What invokes the tool, given the whole context of the call.

    An invoker of the SDK takes it. One of the program may ask for a ``RunContextWrapper``, which does not tell calls
    apart: the SDK's own way of invoking a tool narrows the context for it.
    """
    if hasattr(tool.on_invoke_tool, "__agents_bind_function_tool__"):
        return tool.on_invoke_tool
    bare = copy.copy(tool)
    bare.timeout_seconds = None

    async def invoke(context: ToolContext[Any], arguments: str) -> Any:
        return await invoke_function_tool(function_tool=bare, context=context, arguments=arguments)

    return invoke
