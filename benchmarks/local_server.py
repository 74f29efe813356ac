"""How fast the embedded server is on loopback: `python -m benchmarks.local_server [PAIRS]`.

The server runs in a process of its own. Prints the median and the 99th percentile of a reserve with its commit, in ms:
with the ledger in memory and in a file, asked by a lean client (what the server takes) and by that of `runcycles` (what
a program waits for).
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runcycles import CyclesClient, CyclesConfig

from cycles_otel.local import LocalCycles

UNIT = "USD_MICROCENTS"
WARM_UP = 50

Post = Callable[[str, dict[str, Any]], dict[str, Any]]


def pair(post: Post, number: int) -> float:
    """Seconds that one reserve and its commit take."""
    reserve = {
        "idempotency_key": f"reserve-{number}",
        "subject": {"tenant": "acme", "agent": "triage"},
        "action": {"kind": "llm.completion", "name": "gpt-4o"},
        "estimate": {"unit": UNIT, "amount": 100},
    }
    began = time.perf_counter()
    reserved = post("/v1/reservations", reserve)
    commit = {"idempotency_key": f"commit-{number}", "actual": {"unit": UNIT, "amount": 70}}
    committed = post(f"/v1/reservations/{reserved['reservation_id']}/commit", commit)
    elapsed = time.perf_counter() - began
    if committed["status"] != "COMMITTED":
        raise SystemExit(f"a commit was refused: {committed}")
    return elapsed


@contextmanager
def lean_client(config: CyclesConfig) -> Iterator[Post]:
    """The standard library's client on one connection."""
    connection = http.client.HTTPConnection(urlsplit(config.base_url).netloc)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {"X-Cycles-API-Key": config.api_key, "Content-Type": "application/json"}

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection.request("POST", path, json.dumps(body), headers)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer

    yield post
    connection.close()


@contextmanager
def runcycles_client(config: CyclesConfig) -> Iterator[Post]:
    """The client library of Cycles."""
    with CyclesClient(config) as client:

        def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            if path == "/v1/reservations":
                return client.create_reservation(body).body or {}
            return client.commit_reservation(path.split("/")[3], body).body or {}

        yield post


@contextmanager
def server(db: Path | None) -> Iterator[CyclesConfig]:
    """A server in a process of its own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(there, db))
    process.start()
    try:
        yield CyclesConfig(**here.recv())
    finally:
        here.send("stop")
        process.join()


def _serve(caller: Connection, db: Path | None) -> None:
    budgets = {"tenant:acme": {UNIT: 10**12}, "tenant:acme/agent:triage": {UNIT: 10**12}}
    with LocalCycles(budgets, db=db) as local:
        caller.send({"base_url": local.url, "api_key": local.api_key, "tenant": "acme"})
        caller.recv()


def summary(seconds: list[float]) -> str:
    """Median and 99th percentile in ms."""
    ordered = sorted(seconds)
    median, slow = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"median {median * 1000:.2f} ms, p99 {slow * 1000:.2f} ms"


def main() -> None:
    """Measure each combination."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory() as directory:
        for name, client in (("lean client", lean_client), ("runcycles", runcycles_client)):
            for where, db in (("in memory", None), ("in a file", Path(directory) / f"{name}.db")):
                with server(db) as config, client(config) as post:
                    times = [pair(post, number) for number in range(WARM_UP + pairs)][WARM_UP:]
                print(f"{where}, {name}: reserve + commit {summary(times)}")


if __name__ == "__main__":
    main()
