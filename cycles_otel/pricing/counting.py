"""Counting the tokens of an input before it is sent: cheaply, and rather too many than too few.

A token is taken for three bytes of UTF-8. Of English text it is some four, so a third is counted too many; of Chinese
or Japanese it is one character, as most models have it. What is sent beside the text has a flat number: four for each
item, and ``FLAT_TOKENS`` for an image, a file or a recording, whose bytes say nothing about its tokens. Tools count
with their names, descriptions and schemas. What the provider keeps (a conversation, an earlier response) is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

BYTES_PER_TOKEN = 3
FLAT_TOKENS = 1_000
_TOKENS_PER_ITEM = 4
_NOT_TEXT = frozenset({"input_image", "image_url", "input_file", "file", "input_audio", "image_generation_call"})
_NOT_SENT_AS_TEXT = frozenset({"id", "call_id", "type", "role", "status", "encrypted_content"})


def input_tokens(system_prompt: str | None, items: Iterable[Any], tools: Iterable[Any]) -> int:
    """How many tokens a call's input may have.

    Parameters
    ----------
    items: the input, as the SDK gives it to hooks.
    tools: the tools of the agent.
    """
    flat, size, number = 0, _size(system_prompt or ""), 0
    for item in items:
        more_flat, more = _count(item)
        flat, size, number = flat + more_flat, size + more, number + 1
    for tool in tools:
        texts = (getattr(tool, name, None) for name in ("name", "description", "params_json_schema"))
        size += sum(_count(text)[1] for text in texts)
    return flat + number * _TOKENS_PER_ITEM - (-size // BYTES_PER_TOKEN)


def _count(value: Any) -> tuple[int, int]:
    """Flat tokens, and bytes of text."""
    if isinstance(value, str):
        return 0, _size(value)
    if isinstance(value, Mapping):
        if value.get("type") in _NOT_TEXT:
            return FLAT_TOKENS, 0
        # The names of fields are part of a schema, and close to nothing elsewhere.
        parts = [(0, len(name)) for name in value if isinstance(name, str)]
        parts += [_count(each) for name, each in value.items() if name not in _NOT_SENT_AS_TEXT]
    elif isinstance(value, list | tuple):
        parts = [_count(each) for each in value]
    else:
        return 0, 4 if isinstance(value, int | float) else 0
    return sum(flat for flat, _ in parts), sum(size for _, size in parts)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
