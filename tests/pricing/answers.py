"""What models answer: usages, and calls of the tools that their provider hosts."""

from __future__ import annotations

from typing import Any

from agents import ModelResponse, Usage
from agents.testing import assistant_message
from openai.types.responses import (
    Response,
    ResponseCodeInterpreterToolCall,
    ResponseCompletedEvent,
    ResponseFileSearchToolCall,
    ResponseFunctionWebSearch,
    ResponseUsage,
)
from openai.types.responses.response_output_item import ImageGenerationCall, McpCall

from tests.hooks.desk import usage

DONE = assistant_message("done")


def answer(used: Usage | None = None, *items: Any) -> ModelResponse:
    return ModelResponse(output=[*items, DONE], usage=used or usage(), response_id=None)


def web_search(action: str = "search", number: int = 0) -> ResponseFunctionWebSearch:
    """Searching for something, opening a page that was found, or looking for a word in it."""
    details: dict[str, Any] = {"type": action, "query": "x", "url": "https://example.org", "pattern": "x"}
    found = {"id": f"ws_{number}", "action": details, "status": "completed", "type": "web_search_call"}
    return ResponseFunctionWebSearch.model_validate(found)


def file_search(status: Any = "completed") -> ResponseFileSearchToolCall:
    return ResponseFileSearchToolCall(id="fs", queries=["x"], status=status, type="file_search_call")


def code_interpreter() -> ResponseCodeInterpreterToolCall:
    return ResponseCodeInterpreterToolCall(
        id="ci", container_id="cntr", status="completed", type="code_interpreter_call"
    )


def image_generation() -> ImageGenerationCall:
    return ImageGenerationCall(id="ig", status="completed", type="image_generation_call")


def mcp_call(name: str = "search_docs") -> McpCall:
    return McpCall(id="mcp", arguments="{}", name=name, server_label="docs", type="mcp_call")


def completed(*items: Any) -> ResponseCompletedEvent:
    """The last event of a stream, which carries the whole answer."""
    used = usage()
    response = Response(
        id="resp",
        created_at=0,
        model="gpt-4o",
        object="response",
        output=list(items),
        parallel_tool_calls=False,
        tool_choice="auto",
        tools=[],
        usage=ResponseUsage(
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            total_tokens=used.total_tokens,
            input_tokens_details=used.input_tokens_details,
            output_tokens_details=used.output_tokens_details,
        ),
    )
    return ResponseCompletedEvent(response=response, sequence_number=0, type="response.completed")
