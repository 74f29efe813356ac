"""Tools that the provider hosts: no hook of the SDK sees their calls, only the model's answer tells of them.

They run inside of the LLM call, so nothing can stop one before it costs anything: it is counted and charged after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cycles_otel.pricing.rates import MICROCENTS_PER_USD

HOSTED_MCP = "hosted_mcp"
_TOOL_OF_ITEM = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
    "mcp_call": HOSTED_MCP,
}
"""The items of an answer that are calls of hosted tools, and the SDK's names for the tools."""

_DOLLARS_PER_THOUSAND = {"openai": {"web_search": Decimal(10), "file_search": Decimal("2.5"), HOSTED_MCP: Decimal(0)}}
"""What a provider asks for a call, in dollars for a thousand of them, where the price data has no price of the model.

OpenAI: what genai-prices 0.2.3 (October 2026) has for every model of OpenAI that it knows to search, from
https://developers.openai.com/api/docs/pricing. Hosted MCP costs the tokens of the call and no fee. Not here, since an
answer does not say what they cost: the code interpreter, which is charged by the container and its time, and image
generation, which is charged by the tokens of another model.
"""


@dataclass(frozen=True)
class HostedCall:
    """One call of a hosted tool.

    Parameters
    ----------
    tool: the SDK's name for the tool: ``web_search``, ``hosted_mcp``…
    name: its own name, which differs for a tool of a hosted MCP server.
    has_fee: whether the provider charges this call; to open a page that a search has found costs nothing.
    """

    tool: str
    name: str
    has_fee: bool = True


def hosted_calls(output: Iterable[Any]) -> tuple[HostedCall, ...]:
    """The calls of hosted tools among the items of a model's answer, whether they succeeded or not."""
    return tuple(_call(tool, item) for item in output if (tool := _TOOL_OF_ITEM.get(str(_field(item, "type")))))


def with_fee(calls: Iterable[HostedCall]) -> dict[str, int]:
    """How many calls of each tool the provider charges."""
    counts: dict[str, int] = {}
    for call in calls:
        if call.has_fee:
            counts[call.tool] = counts.get(call.tool, 0) + 1
    return counts


def fee(tool: str, provider: str | None, of_model: Mapping[str, Fraction]) -> Fraction | None:
    """What a call costs beside its tokens, in microcents: by the data of the model, else by the provider's list."""
    if tool in of_model:
        return of_model[tool]
    dollars = _DOLLARS_PER_THOUSAND.get(provider or "", {}).get(tool)
    return None if dollars is None else Fraction(dollars) * MICROCENTS_PER_USD / 1_000


def _call(tool: str, item: Any) -> HostedCall:
    if tool == HOSTED_MCP:
        return HostedCall(tool, str(_field(item, "name") or tool))
    # Opening a found page and looking for a word in it are items of the same type; only a search has a fee.
    action = _field(_field(item, "action"), "type")
    return HostedCall(tool, tool, has_fee=tool != "web_search" or action in (None, "search"))


def _field(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
