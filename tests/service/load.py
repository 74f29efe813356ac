"""The service under load: `python -m tests.service.load [--seconds 60]`.

Customers ask, whole answers and streams, while the Cycles server is killed and comes back, and all workers are replaced
half way. At the end come SIGTERM, and streams that are in flight then. It is played twice, for half of the time each:
a service that goes on without Cycles, and one that does not. No request may be lost, and what the answers say was used,
what the ledger has charged, and what `/metrics` shows over all workers must be the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import httpx

from cycles_otel.telemetry import semconv
from tests.service.customers import Reply, ask
from tests.service.processes import CyclesServer, Service, scope_of, waited_for
from tests.service.proof import UNITS, used_by, wrong_money
from tests.telemetry.readings import Readings, of_text_page

BUDGETS = {
    "ada": {"USD_MICROCENTS": 10**11, "RISK_POINTS": 10**8},
    "grace": {"USD_MICROCENTS": 10**11, "RISK_POINTS": 10**8},
    "edsger": {"USD_MICROCENTS": 450_000, "RISK_POINTS": 90},
}
"""The last one has enough for a few questions."""
AMPLE = ("ada", "grace")
_LEASE_AND_GRACE = 90.0
"""What the server granted by a reply that died with it is given back, or expires in so many seconds."""
_STREAMS_AT_THE_END = 4


@dataclass(frozen=True)
class Plan:
    """How the service is played.

    Parameters
    ----------
    seconds: how long customers go on asking.
    at_once: how many of them.
    restarts: how often the Cycles server is killed meanwhile.
    outage: how long it is away each time, in s.
    """

    fail_open: bool
    seconds: float
    at_once: int = 10
    restarts: int = 3
    outage: float = 1.5


@dataclass
class Outcome:
    """What came of it.

    Parameters
    ----------
    wrong: each sentence is one way in which it is not as it must be.
    workers: how many processes have served.
    """

    replies: list[Reply] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unenforced: int = 0
    workers: int = 0

    @property
    def statuses(self) -> Counter[int]:
        """How often each status was the outcome."""
        return Counter(reply.outcome for reply in self.replies)


def play(plan: Plan, folder: Path) -> Outcome:
    """Start the service, put it under load, end it, and say what came of it; no process is left."""
    cycles = CyclesServer(folder, BUDGETS)
    with contextlib.ExitStack() as processes:
        processes.callback(cycles.kill)
        cycles.start()
        environment = {"FAIL_OPEN": str(plan.fail_open).lower(), "SCRIPT_PAUSE": "0.2"}
        service = Service(folder, cycles, environment)
        processes.callback(service.kill)
        service.wait_until_it_serves()
        return asyncio.run(_played(plan, cycles, service))


async def _played(plan: Plan, cycles: CyclesServer, service: Service) -> Outcome:
    outcome = Outcome()
    # A connection for each request: one that idles may be closed by either side at any time.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=60) as client:
        disturbing = asyncio.create_task(_disturb(plan, cycles, service))
        asking = [_keep_asking(client, number, disturbing, outcome) for number in range(plan.at_once)]
        await asyncio.gather(disturbing, *asking)
        page = await asyncio.to_thread(_settled_page, cycles, service, outcome.replies)
        outcome.unenforced = int(page.total(semconv.UNENFORCED_STEPS))
        outcome.wrong += wrong_money(outcome.replies, cycles.ledger(), page)
        await _end(client, service, outcome)
    await asyncio.to_thread(_settled, cycles, outcome.replies)
    outcome.workers = len(service.workers)
    outcome.wrong += [fault for reply in outcome.replies for fault in reply.faults()]
    outcome.wrong += _wrong_ends(plan, cycles, service, outcome)
    return outcome


async def _keep_asking(client: httpx.AsyncClient, number: int, during: asyncio.Task[None], outcome: Outcome) -> None:
    customers = itertools.islice(itertools.cycle(BUDGETS), number, None)
    for question, customer in enumerate(customers):
        if during.done():
            return
        words = "why " * (question % 50 + 1)
        outcome.replies.append(await ask(client, customer, streamed=question % 2 == 0, question=words))
        if outcome.replies[-1].outcome != 200:
            await asyncio.sleep(0.2)


async def _disturb(plan: Plan, cycles: CyclesServer, service: Service) -> None:
    began, share = time.monotonic(), plan.seconds / (plan.restarts + 1)
    for restart in range(plan.restarts):
        await asyncio.sleep(max(began + share * (restart + 1) - time.monotonic(), share / 2))
        await asyncio.to_thread(cycles.kill)
        await asyncio.sleep(plan.outage)
        await asyncio.to_thread(cycles.start)
        if restart == plan.restarts // 2:
            service.reload()
            await asyncio.to_thread(waited_for, lambda: len(service.workers) >= 4, "the new workers")
    await asyncio.sleep(share)


async def _end(client: httpx.AsyncClient, service: Service, outcome: Outcome) -> None:
    """SIGTERM while streams are in flight: they come to their end, and then the service does."""
    begun = [asyncio.Event() for _ in range(_STREAMS_AT_THE_END)]
    streams = [asyncio.create_task(ask(client, "ada", streamed=True, begun=each)) for each in begun]
    await asyncio.gather(*(each.wait() for each in begun))
    service.terminate()
    last = await asyncio.gather(*streams)
    outcome.replies += last
    outcome.wrong += [f"a stream in flight ended {each.names}" for each in last if each.names[-1:] != ["done"]]
    if status := await asyncio.to_thread(service.exit_status):
        outcome.wrong.append(f"the service ended with {status}")


def _settled_page(cycles: CyclesServer, service: Service, replies: Sequence[Reply]) -> Readings:
    """What `/metrics` shows once nothing waits to be settled, or what it shows when that took too long."""
    _settled(cycles, replies)
    with contextlib.suppress(AssertionError):
        waited_for(lambda: not wrong_money(replies, cycles.ledger(), of_text_page(service.page())), "equal money", 20)
    return of_text_page(service.page())


def _settled(cycles: CyclesServer, replies: Sequence[Reply]) -> None:
    """Wait until nothing is held."""
    with contextlib.suppress(AssertionError):
        waited_for(lambda: not cycles.ledger().active, "settlements", _LEASE_AND_GRACE)


def _wrong_ends(plan: Plan, cycles: CyclesServer, service: Service, outcome: Outcome) -> list[str]:
    ledger, told = cycles.ledger(), used_by(outcome.replies)
    wrong = [
        f"{customer} was told {told[customer][unit]:,} {unit} in all, the ledger has {charged:,}"
        for customer in AMPLE
        for unit in UNITS
        if told[customer][unit] != (charged := ledger.budget(scope_of(customer), unit).spent)
    ]
    expected = {200, 402, 429} if plan.fail_open else {200, 402, 429, 503}
    wrong += [
        f"{count} requests ended with {status}" for status, count in outcome.statuses.items() if status not in expected
    ]
    wrong += [f"{path.name} is left in the journal" for path in service.journal.rglob("*.json")]
    wrong += [f"{len(ledger.active)} reservations are held"] if ledger.active else []
    wrong += [] if len(service.answering) > 1 else ["one worker has answered everything"]
    wrong += [] if all(told[customer].total() for customer in AMPLE) else ["nothing was used"]
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, print the figures, and say by the exit status whether all is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    wrong: list[str] = []
    for fail_open in (True, False):
        with tempfile.TemporaryDirectory(prefix="service-") as folder:
            outcome = play(Plan(fail_open, asked.seconds / 2), Path(folder))
        statuses = ", ".join(f"{count:,} with {status}" for status, count in sorted(outcome.statuses.items()))
        print(f"fail_open={fail_open}: {statuses}; {outcome.unenforced} steps unenforced, {outcome.workers} workers")
        for customer, used in used_by(outcome.replies).items():
            print(f"  {customer}: {', '.join(f'{used[unit]:,} {unit}' for unit in UNITS)}", flush=True)
        wrong += outcome.wrong
    print("\n".join(f"WRONG: {each}" for each in wrong) or "No request is lost, and the money is equal.")
    return 1 if wrong else 0


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
