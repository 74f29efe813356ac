"""How the desk is connected to Cycles: for each tenant the hooks and the guardrail that act with the tenant's key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents import InputGuardrail, RunHooks

from cycles_otel.chain import HookChain
from cycles_otel.cli.demo.desk import TOOL_RISK
from cycles_otel.cli.demo.tenants import Tenant
from cycles_otel.cli.demo.witness import Witness
from cycles_otel.guardrail import cycles_budget_guardrail
from cycles_otel.hooks import CyclesRunHooks
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import Recorder

LLM_ESTIMATE = 700_000
"""What is held for an LLM call before its usage is known, in microcents: about what a long one costs."""
TTL_MS = 2_000
"""Short, so that the slow tool outlives it and the heartbeat is seen; the default is a minute."""


@dataclass(frozen=True)
class Account:
    """A tenant, and what governs the runs of its customers."""

    tenant: Tenant
    governing: CyclesRunHooks
    hooks: RunHooks[Any]
    guardrail: InputGuardrail[Any]


def open_account(tenant: Tenant, server: LocalCycles, recorder: Recorder, witness: Witness) -> Account:
    """Connect a tenant: this is all that it takes to govern and observe the desk."""
    config = server.config(tenant.name)
    governing = CyclesRunHooks(
        config=config, tool_risk=TOOL_RISK, llm_estimate=LLM_ESTIMATE, ttl_ms=TTL_MS, recorder=recorder
    )
    guardrail = cycles_budget_guardrail(config=config, estimate=LLM_ESTIMATE, recorder=recorder)
    paced = HookChain(governing, InStep(witness, tenant.name)) if tenant.one_at_a_time else governing
    return Account(tenant, governing, paced, guardrail)


class InStep(RunHooks[Any]):
    """Lets an LLM call start only when the tenant's last one is settled, which happens in the background.

    A program of one's own does not need that. The demo does, for a seed to mean the same denials in each run: near
    the end of a budget it matters whether the rest of the last reservation was given back already.
    """

    def __init__(self, witness: Witness, tenant: str) -> None:
        self._witness = witness
        self._tenant = tenant

    async def on_llm_start(self, *_: Any) -> None:
        """Called by the SDK, before the governing hooks reserve."""
        await self._witness.settled(self._tenant)
