"""Agents on a real line: the SDK's own models and the real ``openai`` client, which talk to the stub over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents import Agent, FunctionTool, OpenAIChatCompletionsModel, OpenAIResponsesModel
from openai import AsyncOpenAI

from cycles_otel.local import ReservationState
from cycles_otel.telemetry import semconv
from tests.run.desk import Desk
from tests.telemetry.witness import Witness
from tests.wire.answers import Tokens
from tests.wire.stub import Stub

MODEL = "gpt-4o-mini"
OPENAI_KEY = "sk-proj-never-to-be-seen-outside"
ESTIMATE = 50_000
"""What is reserved for an LLM call, in microcents."""
USED = Tokens(input=1_501, output=127, cached=1_025, reasoning=64)
COST = 22_448
"""What ``USED`` costs with gpt-4o-mini, in microcents.

476 uncached x 15 + 1,025 cached x 7.5 + 127 written x 60 = 22,447.5, and half a microcent is a whole one.
"""


def cost(used: Tokens) -> int:
    """What a usage costs with gpt-4o-mini, in microcents, from its price list: $0.15, $0.075 and $0.60 a million."""
    half_microcents = (used.input - used.cached) * 30 + used.cached * 15 + used.output * 120
    return (half_microcents + 1) // 2


@dataclass(kw_only=True)
class Line(Desk):
    """A desk whose models are real ones, reached by ``client``.

    Parameters
    ----------
    api: which of OpenAI's APIs they speak, ``responses`` or ``chat``.
    """

    stub: Stub
    witness: Witness
    client: AsyncOpenAI
    api: str

    def agent(self, *tools: FunctionTool, model: str = MODEL, client: AsyncOpenAI | None = None, **more: Any) -> Any:
        """An agent with such a model; ``client`` is another one than the line's."""
        kind = OpenAIResponsesModel if self.api == "responses" else OpenAIChatCompletionsModel
        real = kind(model, openai_client=client or self.client)
        return Agent(name="clerk", model=real, tools=list(tools), **more)

    async def all_settled(self) -> None:
        """Within a second no reservation is held; then every answer to a settlement is seen by telemetry too."""
        await super().all_settled()
        await self.hooks.aclose()

    async def charged_microcents(self) -> int:
        """What was charged for LLM calls, once nothing is held any more."""
        await self.all_settled()
        return self.ledger.charged("USD_MICROCENTS")

    @property
    def llm_calls(self) -> list[ReservationState]:
        """The reservations of LLM calls, oldest first."""
        return [each for each in self.ledger.reservations if each.action["kind"] == "llm.completion"]

    def settled(self, outcome: str, source: str = "") -> int:
        """How many LLM calls the metrics say were settled so."""
        labels = {"cycles_reservation_outcome": outcome, "cycles_amount_source": source}
        return int(self.witness.total(semconv.SETTLEMENT_COUNT, cycles_action_kind="llm.completion", **labels))

    def tokens(self, kind: str) -> int:
        """How many tokens of a type the metrics say were used."""
        return int(self.witness.total(semconv.TOKENS, gen_ai_token_type=kind))
