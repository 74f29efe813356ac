"""The support desk of the demo at work inside the test: some customers are served, and all that was seen is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from cycles_otel.cli.demo import tenants
from cycles_otel.cli.demo.accounts import Account, open_account
from cycles_otel.cli.demo.cases import Case
from cycles_otel.cli.demo.readings import Readings
from cycles_otel.cli.demo.reconciliation import Reconciliation, reconcile
from cycles_otel.cli.demo.witness import Witness
from cycles_otel.cli.demo.workload import DeskLog, serve_customers
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import Recorder

SEED = 19
"""With four customers: hooli's billing agent wants to send an e-mail, initech has no money for one customer, acme's
question needs the researcher, and globex' the slow diagnostics, for which the heartbeat beats."""
CUSTOMERS = 4


@dataclass(frozen=True)
class Desk:
    """A desk that is open, and what looks on."""

    server: LocalCycles
    registry: CollectorRegistry
    witness: Witness
    accounts: dict[str, Account]
    log: DeskLog

    async def serve(self, cases: Sequence[Case]) -> None:
        """Serve these customers, until everything is settled."""
        await serve_customers(cases, self.accounts, self.log)
        for account in self.accounts.values():
            await account.governing.aclose()

    @property
    def readings(self) -> Readings:
        return Readings(self.registry)

    def reconciled(self) -> Reconciliation:
        """What the demo compares at its end."""
        server = self.server
        return reconcile(self.readings, server.ledger(), len(server.requests), self.witness.client_spans)


@asynccontextmanager
async def open_desk(customers: int = CUSTOMERS) -> AsyncIterator[Desk]:
    """A desk with budgets for so many customers."""
    witness, registry = Witness(), CollectorRegistry()
    provider = TracerProvider()
    provider.add_span_processor(witness)
    recorder = Recorder(metrics="prometheus", registry=registry, tracer_provider=provider)
    async with LocalCycles(budgets=tenants.budgets(customers)) as server:
        accounts = {each.name: open_account(each, server, recorder, witness) for each in tenants.TENANTS}
        try:
            yield Desk(server, registry, witness, accounts, DeskLog())
        finally:
            for account in accounts.values():
                await account.governing.aclose()
            provider.shutdown()
