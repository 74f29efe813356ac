"""Models that follow a script: each has a name, hence a price, uses tokens as a real one would, and takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from agents import Usage
from agents.items import TResponseOutputItem
from agents.testing import ModelCall, ModelStep, ScriptedModel
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

_CACHE_BLOCK = 128
_CACHED_FROM = 1_024
_LATENCY = (0.1, 0.5)


@dataclass(frozen=True)
class Turn:
    """One answer of a model.

    Parameters
    ----------
    latency: how long the model thinks, in s.
    """

    output: TResponseOutputItem
    usage: Usage
    latency: float

    async def play(self, call: ModelCall) -> ModelStep:
        """Think, then answer."""
        await asyncio.sleep(self.latency)
        return ModelStep(output=[self.output], usage=self.usage)


class NamedModel(ScriptedModel):
    """A scripted model with the name of a real one, by which its usage is priced."""

    def __init__(self, model: str, turns: Sequence[Turn]) -> None:
        super().__init__([ModelStep.respond(turn.play) for turn in turns])
        self.model = model


class Conversation:
    """Draws the usage of one model's turns: the prompt grows with each, and what was sent before may be cached.

    Parameters
    ----------
    prompt: tokens of the instructions, the tools and the question.
    """

    def __init__(self, rng: Random, prompt: int) -> None:
        self._rng = rng
        self._prompt = prompt + rng.randrange(200)
        self._sent_before = 0

    def turn(self, output: TResponseOutputItem) -> Turn:
        """The next answer, with a usage and a latency of its own."""
        written = self._rng.randrange(40, 260)
        usage = _usage(self._prompt, self._cached(), written)
        self._sent_before = self._prompt
        self._prompt += written + self._rng.randrange(80, 600)
        return Turn(output, usage, latency=self._rng.uniform(*_LATENCY))

    def _cached(self) -> int:
        """What a provider's cache would have: whole blocks of what was sent before, most of the time."""
        hit = self._rng.random() < 0.8 and self._sent_before >= _CACHED_FROM
        return self._sent_before // _CACHE_BLOCK * _CACHE_BLOCK if hit else 0


def _usage(read: int, cached: int, written: int) -> Usage:
    return Usage(
        requests=1,
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        input_tokens_details=InputTokensDetails(cached_tokens=cached, cache_write_tokens=0),
        output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
    )
