"""How fast the embedded server is on loopback: `python -m benchmarks.local_server [PAIRS]`.

Prints the median and the 99th percentile of a reserve, of a commit, and of the two as a pair, in ms, with the ledger in
memory and in a file.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from runcycles import AsyncCyclesClient

from cycles_otel.local import LocalCycles

UNIT = "USD_MICROCENTS"
WARM_UP = 50


async def pair(client: AsyncCyclesClient, number: int) -> tuple[float, float]:
    """Seconds that one reserve and its commit take."""
    reserve: dict[str, Any] = {
        "idempotency_key": f"reserve-{number}",
        "subject": {"tenant": "acme", "agent": "triage"},
        "action": {"kind": "llm.completion", "name": "gpt-4o"},
        "estimate": {"unit": UNIT, "amount": 100},
    }
    began = time.perf_counter()
    reserved = await client.create_reservation(reserve)
    between = time.perf_counter()
    commit = {"idempotency_key": f"commit-{number}", "actual": {"unit": UNIT, "amount": 70}}
    committed = await client.commit_reservation(reserved.body["reservation_id"] if reserved.body else "", commit)
    ended = time.perf_counter()
    if not committed.is_success:
        raise SystemExit(f"a commit was refused: {committed.status} {committed.body}")
    return between - began, ended - between


async def measure(title: str, pairs: int, db: Path | None) -> None:
    """Print the times of `pairs` pairs, one after the other."""
    budgets = {"tenant:acme": {UNIT: 10**12}, "tenant:acme/agent:triage": {UNIT: 10**12}}
    async with LocalCycles(budgets, db=db) as server, AsyncCyclesClient(server.config()) as client:
        times = [await pair(client, number) for number in range(WARM_UP + pairs)][WARM_UP:]
    reserves, commits = zip(*times, strict=True)
    print(
        f"{title:10}", *(f"{name} {summary(values)}" for name, values in (("reserve", reserves), ("commit", commits)))
    )
    print(f"{'':10} pair {summary([reserve + commit for reserve, commit in times])}")


def summary(seconds: Any) -> str:
    """Median and 99th percentile in ms."""
    ordered = sorted(seconds)
    median, slow = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"median {median * 1000:.2f} ms, p99 {slow * 1000:.2f} ms;"


def main() -> None:
    """Measure with the ledger in memory, then in a file."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    asyncio.run(measure("in memory", pairs, None))
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure("in a file", pairs, Path(directory) / "ledger.db"))


if __name__ == "__main__":
    main()
