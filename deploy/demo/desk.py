"""Serves the customers of the support desk on a Cycles server, round after round: ``python -m deploy.demo.desk``.

Unlike ``cycles-otel demo`` it starts no server and proves nothing: it is an application like yours, which is configured
by ``CYCLES_BASE_URL``, ``CYCLES_KEYS`` and ``OTEL_*``. Its models are scripted, and nothing is spent.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import agents
from runcycles import CyclesConfig

from cycles_otel import CyclesRunHooks, cycles_budget_guardrail, setup_telemetry
from cycles_otel.cli.demo.accounts import LLM_ESTIMATE, TTL_MS, Account
from cycles_otel.cli.demo.cases import cases
from cycles_otel.cli.demo.desk import TOOL_RISK
from cycles_otel.cli.demo.tenants import TENANTS, Tenant
from cycles_otel.cli.demo.workload import DeskLog, serve_customers
from deploy.demo import keys

SEED = 1
CUSTOMERS = 40
PAUSE_SECONDS = 20.0
"""Between two rounds; with it some 80 to 100 customers come in a minute, for which ``accounts`` refills the budgets."""


def open_account(tenant: Tenant, base_url: str, key: str) -> Account:
    """Connect a tenant to the server."""
    config = CyclesConfig(base_url=base_url, api_key=key, tenant=tenant.name, journal_enabled=False)
    hooks = CyclesRunHooks(config=config, tool_risk=TOOL_RISK, llm_estimate=LLM_ESTIMATE, ttl_ms=TTL_MS)
    return Account(tenant, hooks, hooks, cycles_budget_guardrail(config=config, estimate=LLM_ESTIMATE))


async def serve_round(accounts: dict[str, Account], number: int, customers: int = CUSTOMERS) -> DeskLog:
    """Serve so many customers, other ones in each round; returns when what they held is settled."""
    log = DeskLog()
    await serve_customers(cases(customers, SEED, 1 + number * customers), accounts, log)
    for account in accounts.values():
        await account.governing.aclose()
    return log


async def work(base_url: str, given: dict[str, str], tell: Callable[[str], None]) -> None:
    """Round after round, and a line after each, until it is cancelled."""
    accounts = {tenant.name: open_account(tenant, base_url, given[tenant.name]) for tenant in TENANTS}
    number = 0
    while True:
        log = await serve_round(accounts, number)
        tell(f"round {number}: {log.answers} answered, {log.stops} stopped, {log.refusals} turned away")
        number += 1
        await asyncio.sleep(PAUSE_SECONDS)


def _tell(line: str) -> None:
    """In the log, and by the age of a file to who looks after the container."""
    print(line, flush=True)
    Path(os.environ["DESK_AT_WORK"]).touch()


async def _work_until_told() -> None:
    given = keys.read_keys(keys.folder(), [tenant.name for tenant in TENANTS])
    task = asyncio.ensure_future(work(os.environ["CYCLES_BASE_URL"], given, _tell))
    for told in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def main() -> None:
    """Work until SIGTERM or Ctrl-C, then send what waits."""
    # The SDK would send its own traces to OpenAI.
    agents.set_trace_processors([])
    telemetry = setup_telemetry()
    try:
        asyncio.run(_work_until_told())
    finally:
        telemetry.shutdown()


if __name__ == "__main__":
    main()
