"""A desk at which steps are denied: models by name on a shelf, and budgets that allow one of them and not the other.

LLM calls are counted in TOKENS. The agent asks for the model ``large``; 1,000 tokens are reserved for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent, Model, ModelProvider, RunConfig
from agents.testing import ScriptedModel

from cycles_otel import CyclesModelProvider, StepDeniedError
from cycles_otel.local import LocalCycles, LoggedRequest
from tests.run.desk import Desk, Result, hooks_of
from tests.telemetry.witness import Witness

TENANT = "tenant:acme"
SCARCE = {"TOKENS": 500, "RISK_POINTS": 20, "USD_MICROCENTS": 0}
"""Too little for an LLM call at the desk's estimate of 1,000, enough for one at 100."""


CAPS_OF = {"TOKENS": "tenant:acme/agent:clerk", "RISK_POINTS": "tenant:acme/agent:clerk/toolset:wipe"}
"""The deepest scopes of the clerk's LLM calls and of its tool ``wipe``: the server gives back the caps of these."""
BUDGETS = {TENANT: SCARCE, **{scope: {unit: 1_000_000} for unit, scope in CAPS_OF.items()}}


def cap(server: LocalCycles, unit: str = "TOKENS", **caps: Any) -> None:
    """Set the caps of the clerk's LLM calls, or of its tool ``wipe``."""
    server.set_budget(CAPS_OF[unit], unit, caps=caps)


class NamedModel(ScriptedModel):
    """Answers from its script, and has a name."""

    def __init__(self, name: str, *steps: Any) -> None:
        super().__init__(steps)
        self.model = name


class Shelf(ModelProvider):
    """Gives out models by their names, the same one each time."""

    def __init__(self, *models: NamedModel) -> None:
        self.models = {model.model: model for model in models}
        self.closed = False

    def get_model(self, model_name: str | None) -> Model:
        return self.models[model_name or "large"]

    async def aclose(self) -> None:
        self.closed = True

    def calls(self, name: str) -> int:
        """How often a model was called."""
        return len(self.models[name].calls)


def governed(shelf: Shelf, **more: Any) -> RunConfig:
    """The config of a run whose models are governed."""
    return RunConfig(model_provider=CyclesModelProvider(shelf), **more)


@asynccontextmanager
async def desk_of(server: LocalCycles, streamed: bool, witness: Witness, **parameters: Any) -> AsyncIterator[Desk]:
    """A desk with hooks of these parameters, whose spans and metrics the witness keeps."""
    async with hooks_of(server, recorder=witness.recorder, **parameters) as hooks:
        yield Desk(server, hooks, streamed)


async def denied_run(desk: Desk, starting: Agent[Any], **more: Any) -> StepDeniedError:
    """A run that a denial stops; the denial."""
    try:
        await desk.run(starting, **more)
    except StepDeniedError as error:
        return error
    raise AssertionError("the run was not denied")


def asked(server: LocalCycles, kind: str = "llm.completion") -> list[tuple[str, int, int | None]]:
    """What was asked of the server for steps of a kind: the name of the action, the estimate, the HTTP status."""
    found = reserves(server, kind)
    return [(each.body["action"]["name"], each.body["estimate"]["amount"], each.status) for each in found]


def reserves(server: LocalCycles, kind: str = "llm.completion") -> list[LoggedRequest]:
    """The requests that asked for steps of a kind."""
    return [each for each in server.requests if each.operation == "reserve" and each.body["action"]["kind"] == kind]


def tool_outputs(result: Result) -> list[str]:
    """What the tools of a run gave back to the model, in their order."""
    return [str(item.output) for item in result.new_items if item.type == "tool_call_output_item"]
