"""What a model says it used: tokens by kind, in exact whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents.items import ModelResponse

KINDS = ("input", "cached", "cache_write", "input_audio", "cached_audio", "output", "reasoning", "output_audio")
"""The kinds of tokens that can have a price of their own. Each token is of exactly one kind."""


@dataclass(frozen=True)
class TokenUsage:
    """The tokens of one LLM call.

    Parameters
    ----------
    input_tokens: all of the input, with those that were read from or written to a cache, and audio.
    output_tokens: all of the output, with reasoning and audio.
    cached_tokens: of the input, read from a cache.
    cache_write_tokens: of the input, written to a cache.
    reasoning_tokens: of the output, spent on reasoning.
    input_audio_tokens, output_audio_tokens: of the input and of the output, audio.
    requests: how many requests to the provider the call took; retries make it more than one.
    parts: the usage of each request, where there were several and the SDK kept them apart.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    requests: int = 1
    parts: tuple[TokenUsage, ...] = ()

    @classmethod
    def of(cls, response: ModelResponse) -> TokenUsage:
        """The usage of an answer; what is missing or negative counts as none."""
        usage = response.usage
        entries = getattr(usage, "request_usage_entries", None) or ()
        parts = tuple(_read(entry) for entry in entries) if len(entries) > 1 else ()
        requests = max(_count(usage, "requests"), 1)
        whole = _read(usage, getattr(response, "raw_usage", None), requests=requests, parts=parts)
        return whole if _add_up(parts, whole) else replace(whole, parts=())

    @property
    def is_known(self) -> bool:
        """Whether the model said anything."""
        return bool(self.input_tokens or self.output_tokens)

    @property
    def by_type(self) -> dict[str, int]:
        """Tokens by type, as the metric of the usage has them."""
        return {
            "input": self.input_tokens,
            "output": self.output_tokens,
            "cached": self.cached_tokens,
            "reasoning": self.reasoning_tokens,
        }

    def by_kind(self) -> dict[str, int] | None:
        """Each token under the one kind that prices it; None for a usage that cannot be (more cached than input)."""
        cached, written, audio = self.cached_tokens, self.cache_write_tokens, self.input_audio_tokens
        fresh = self.input_tokens - cached - written - audio
        # Nobody says how much of the audio came from the cache: as little as the sums allow.
        cached_audio = min(max(-fresh, 0), cached, audio)
        fresh += cached_audio
        audio_out = self.output_audio_tokens
        reasoning = min(self.reasoning_tokens, max(self.output_tokens - audio_out, 0))
        written_out = self.output_tokens - audio_out - reasoning
        if fresh < 0 or written_out < 0:
            return None
        counts = (fresh, cached - cached_audio, written, audio - cached_audio, cached_audio)
        return dict(zip(KINDS, (*counts, written_out, reasoning, audio_out), strict=True))


def _read(usage: object, raw: object = None, **more: Any) -> TokenUsage:
    inputs = getattr(usage, "input_tokens_details", None)
    outputs = getattr(usage, "output_tokens_details", None)
    return TokenUsage(
        input_tokens=_count(usage, "input_tokens"),
        output_tokens=_count(usage, "output_tokens"),
        cached_tokens=_count(inputs, "cached_tokens"),
        cache_write_tokens=_count(inputs, "cache_write_tokens"),
        reasoning_tokens=_count(outputs, "reasoning_tokens"),
        input_audio_tokens=_count(inputs, "audio_tokens") or _raw_audio(raw, "input_tokens", "prompt_tokens"),
        output_audio_tokens=_count(outputs, "audio_tokens") or _raw_audio(raw, "output_tokens", "completion_tokens"),
        **more,
    )


def _raw_audio(raw: object, *names: str) -> int:
    """Audio tokens from the provider's own words, which the SDK keeps with ``preserve_raw_usage``."""
    if not isinstance(raw, Mapping):
        return 0
    details = [raw.get(f"{name}_details") for name in names]
    return next((_whole(each.get("audio_tokens")) for each in details if isinstance(each, Mapping)), 0)


def _add_up(parts: tuple[TokenUsage, ...], whole: TokenUsage) -> bool:
    """Whether the requests are all of the call: what one of them did not report must not go uncharged."""
    if not parts:
        return True
    input_tokens, output_tokens = (sum(part.input_tokens for part in parts), sum(part.output_tokens for part in parts))
    return (input_tokens, output_tokens) == (whole.input_tokens, whole.output_tokens)


def _count(usage: object, name: str) -> int:
    return _whole(getattr(usage, name, 0))


def _whole(value: Any) -> int:
    return max(value, 0) if isinstance(value, int) else 0
