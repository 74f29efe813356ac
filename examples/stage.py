"""Where the examples play: with nothing but this project, or for real; their own code is the same either way.

With ``OPENAI_API_KEY``, ``CYCLES_BASE_URL`` and ``CYCLES_API_KEY`` set, OpenAI's models answer, and the budgets are
those of your Cycles server. Without them an embedded server holds the budgets that the example asks for, and the
models follow its script.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from agents import Model, Usage, set_tracing_disabled
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from runcycles import AsyncCyclesClient, CyclesConfig

from cycles_otel.local import LocalCycles

FOR_REAL = ("OPENAI_API_KEY", "CYCLES_BASE_URL", "CYCLES_API_KEY")
MODEL = "gpt-4o-mini"


class Stage:
    """Sets an example up while its block runs.

    Parameters
    ----------
    budgets: what the tenant has, by unit, where no real server says so.
    """

    def __init__(self, budgets: Mapping[str, int]) -> None:
        self.for_real = all(os.environ.get(name) for name in FOR_REAL)
        self.tenant = (os.environ.get("CYCLES_TENANT") if self.for_real else None) or "acme"
        self._server = None if self.for_real else LocalCycles(budgets={f"tenant:{self.tenant}": budgets})

    async def __aenter__(self) -> Stage:
        if self._server is None:
            print(f"For real: {MODEL}, and the Cycles server at {os.environ['CYCLES_BASE_URL']}.\n")
            return self
        await self._server.__aenter__()
        os.environ.update(self._server.environ())
        set_tracing_disabled(True)  # The SDK sends its traces to OpenAI, and here is no key for that.
        print(f"With nothing: scripted models, an embedded Cycles server. For real, set {', '.join(FOR_REAL)}.\n")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._server is not None:
            await self._server.__aexit__(None, None, None)

    def model(self, *script: ModelStep) -> str | Model:
        """The model of an agent: OpenAI's, or one that says what the script has, under the same name and price."""
        return MODEL if self.for_real else _Scripted(script)

    async def show_budgets(self) -> None:
        """Print what the tenant has, has spent, and has left, as the server says."""
        async with AsyncCyclesClient(CyclesConfig.from_env()) as client:
            reply = await client.get_balances(tenant=self.tenant)
        print()
        for balance in (reply.body or {}).get("balances", ()):
            allocated, spent, left = (balance[name]["amount"] for name in ("allocated", "spent", "remaining"))
            unit = balance["remaining"]["unit"]
            print(f"{balance['scope_path']}  {unit}: {allocated:,} allocated, {spent:,} spent, {left:,} left")


class _Scripted(ScriptedModel):
    def __init__(self, script: tuple[ModelStep, ...]) -> None:
        super().__init__(script)
        self.model = MODEL


def says(text: str, *, read: int, written: int) -> ModelStep:
    """A scripted answer that uses so many tokens."""
    return ModelStep(output=[assistant_message(text)], usage=_usage(read, written))


def calls(tool: str, *, read: int, written: int, **arguments: str) -> ModelStep:
    """A scripted call of a tool, or of a handoff, that uses so many tokens."""
    return ModelStep(output=[function_call(tool, arguments, call_id=f"{tool}-{read}")], usage=_usage(read, written))


def _usage(read: int, written: int) -> Usage:
    return Usage(requests=1, input_tokens=read, output_tokens=written, total_tokens=read + written)
