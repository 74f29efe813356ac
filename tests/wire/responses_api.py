"""An answer as ``POST /v1/responses`` gives it: one body, or a stream of events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.wire.answers import Answer, Tokens

PATH = "/v1/responses"
_ERROR = {"type": "error", "code": "server_error", "message": "The stub fails.", "param": None, "sequence_number": 99}
FAILURE = f"event: error\ndata: {json.dumps(_ERROR)}\n\n"
"""How a stream says that it cannot go on."""


def body(answer: Answer, number: int, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to the ``number``-th request in one piece."""
    return _response(number, request, _status(answer), _output(answer, number), answer.usage)


def stream(answer: Answer, number: int, request: dict[str, Any]) -> Iterator[str]:
    """The answer in server-sent events: the words or arguments in two parts, the usage in the last event."""
    for sequence, event in enumerate(_events(answer, number, request)):
        yield f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': sequence})}\n\n"


def _events(answer: Answer, number: int, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = _response(number, request, "in_progress", [], None)
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(_output(answer, number)):
        yield from _item_events(index, item)
    yield {"type": f"response.{_status(answer)}", "response": body(answer, number, request)}


def _status(answer: Answer) -> str:
    return "incomplete" if answer.cut else "completed"


def _item_events(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    at = {"item_id": item["id"], "output_index": index}
    if item["type"] == "function_call":
        yield _item("added", index, {**item, "status": "in_progress", "arguments": ""})
        for part in _halves(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", **at, "delta": part}
        yield {"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]}
    else:
        (content,) = item["content"]
        at["content_index"] = 0
        yield _item("added", index, {**item, "status": "in_progress", "content": []})
        yield {"type": "response.content_part.added", **at, "part": {**content, "text": ""}}
        for part in _halves(content["text"]):
            yield {"type": "response.output_text.delta", **at, "delta": part, "logprobs": []}
        yield {"type": "response.output_text.done", **at, "text": content["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": content}
    yield _item("done", index, item)


def _item(moment: str, index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": f"response.output_item.{moment}", "output_index": index, "item": item}


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _output(answer: Answer, number: int) -> list[dict[str, Any]]:
    if answer.calls:
        return [
            {
                "type": "function_call",
                "id": f"fc_{number}_{index}",
                "call_id": f"call_{number}_{index}",
                "status": "completed",
                "name": call.tool,
                "arguments": json.dumps(call.arguments),
            }
            for index, call in enumerate(answer.calls)
        ]
    text = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    return [{"type": "message", "id": f"msg_{number}", "status": "completed", "role": "assistant", "content": [text]}]


def _response(
    number: int, request: dict[str, Any], status: str, output: list[dict[str, Any]], used: Tokens | None
) -> dict[str, Any]:
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": request.get("instructions"),
        "metadata": {},
        # A provider names the snapshot that answered, not the model that was asked for.
        "model": f"{request['model']}-2024-07-18",
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": request.get("tools", []),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None if used is None else _usage(used),
    }


def _usage(used: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": used.input,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.cache_write},
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.total,
    }
