"""What the demo runs on: the embedded server, telemetry of its own, and the tenants' accounts."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import agents
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client import CollectorRegistry

from cycles_otel.cli.demo import tenants
from cycles_otel.cli.demo.accounts import Account, open_account
from cycles_otel.cli.demo.witness import Witness
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import Recorder, Telemetry, TelemetrySetupError, setup_telemetry

SERVICE = "cycles-otel-demo"


@dataclass(frozen=True)
class Stage:
    """All that is set up for the demo, and stays until its end."""

    server: LocalCycles
    telemetry: Telemetry
    registry: CollectorRegistry
    witness: Witness
    accounts: dict[str, Account]

    def top_up(self, customers: int) -> None:
        """Give every budget what it was given at the start once more, for so many customers to come."""
        for scope, units in tenants.budgets(customers).items():
            for unit, amount in units.items():
                self.server.fund(scope, amount, unit)

    async def settle(self) -> None:
        """Wait until nothing is pending; the accounts can be used again afterwards."""
        for account in self.accounts.values():
            await account.governing.aclose()


@asynccontextmanager
async def stage(customers: int, otlp: str | None = None) -> AsyncIterator[Stage]:
    """Set everything up, and take it down at the end of the block.

    Parameters
    ----------
    customers: how many are expected; the budgets are made for them.
    otlp: the base address of an OTLP receiver for the traces.

    Raises
    ------
    TelemetrySetupError: the address cannot be used.
    """
    _keep_to_itself()
    witness, registry = Witness(), CollectorRegistry()
    provider = TracerProvider(ALWAYS_ON, Resource.create({SERVICE_NAME: SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(witness)
    recorder = Recorder(metrics="prometheus", registry=registry, tracer_provider=provider)
    telemetry = _telemetry(recorder, otlp)
    try:
        async with LocalCycles(budgets=tenants.budgets(customers)) as server:
            accounts = {each.name: open_account(each, server, recorder, witness) for each in tenants.TENANTS}
            set_up = Stage(server, telemetry, registry, witness, accounts)
            try:
                yield set_up
            finally:
                await set_up.settle()
    finally:
        telemetry.shutdown()


def _keep_to_itself() -> None:
    """The SDK's own traces go to OpenAI by default, and the environment may switch off what is to be shown.

    A receiver that is not there is not waited for as long as a program that goes on would.
    """
    agents.set_trace_processors([])
    os.environ.pop("OTEL_SDK_DISABLED", None)
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3")
    # A request that Ctrl-C cuts off is no news either; what matters of one shows in the figures.
    for library in ("opentelemetry", "runcycles"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _telemetry(recorder: Recorder, otlp: str | None) -> Telemetry:
    """Telemetry with ``/metrics`` on the usual port, or on a free one where that is taken."""
    try:
        return setup_telemetry(SERVICE, metrics="prometheus", otlp_endpoint=otlp, recorder=recorder)
    except TelemetrySetupError as error:
        if error.parameter != "prometheus_port":
            raise
    return setup_telemetry(SERVICE, metrics="prometheus", prometheus_port=0, otlp_endpoint=otlp, recorder=recorder)
