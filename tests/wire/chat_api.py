"""An answer as ``POST /v1/chat/completions`` gives it: one body, or a stream of chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.wire.answers import Answer, Tokens

PATH = "/v1/chat/completions"
FAILURE = 'data: {"error": {"message": "The stub fails.", "type": "server_error", "param": null, "code": null}}\n\n'
"""How a stream says that it cannot go on."""


def body(answer: Answer, number: int, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to the ``number``-th request in one piece."""
    message = {
        "role": "assistant",
        "content": None if answer.calls else answer.text,
        "refusal": None,
        "annotations": [],
        **({"tool_calls": _calls(answer, number)} if answer.calls else {}),
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(answer)}
    used = {} if answer.usage is None else {"usage": _usage(answer.usage)}
    return {**_head("chat.completion", number, request), "choices": [choice], **used}


def stream(answer: Answer, number: int, request: dict[str, Any]) -> Iterator[str]:
    """The answer in chunks; the usage is in a last one without choices, and only where it was asked for."""
    asked_for_usage = (request.get("stream_options") or {}).get("include_usage") is True
    head = {**_head("chat.completion.chunk", number, request), **({"usage": None} if asked_for_usage else {})}
    for delta in _deltas(answer, number):
        yield _event({**head, "choices": [_choice(delta, None)]})
    yield _event({**head, "choices": [_choice({}, _finish_reason(answer))]})
    if asked_for_usage and answer.usage is not None:
        yield _event({**head, "choices": [], "usage": _usage(answer.usage)})
    yield "data: [DONE]\n\n"


def _deltas(answer: Answer, number: int) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if answer.calls else "", "refusal": None}
    if not answer.calls:
        half = len(answer.text) // 2
        yield {"content": answer.text[:half]}
        yield {"content": answer.text[half:]}
    for index, call in enumerate(_calls(answer, number)):
        arguments = call["function"]["arguments"]
        yield {"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def _finish_reason(answer: Answer) -> str:
    return "length" if answer.cut else "tool_calls" if answer.calls else "stop"


def _calls(answer: Answer, number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{number}_{index}",
            "type": "function",
            "function": {"name": call.tool, "arguments": json.dumps(call.arguments)},
        }
        for index, call in enumerate(answer.calls)
    ]


def _head(kind: str, number: int, request: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": 1_760_000_000,
        # A provider names the snapshot that answered, not the model that was asked for.
        "model": f"{request['model']}-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_stub",
    }


def _usage(used: Tokens) -> dict[str, Any]:
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.total,
        "prompt_tokens_details": {
            "cached_tokens": used.cached,
            "cache_write_tokens": used.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
