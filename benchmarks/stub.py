"""A Cycles server that only answers: `python -m benchmarks.stub DELAY_MS`; it prints its port, ends with its parent.

Every budget is ample, and every reply comes after the delay. It costs a small part of what is measured with it, and in
a process of its own, so that it takes no time from the program under test.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from typing import Any

_ids = itertools.count(1)
_SCOPE = "tenant:acme"


class Exchange(asyncio.Protocol):
    """One connection, kept open: requests are answered in their order."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._received += data
        while (request := self._next_request()) is not None:
            content = json.dumps(reply(*request)).encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-cycles-tenant: acme\r\ncontent-length: "
            whole = head + str(len(content)).encode() + b"\r\n\r\n" + content
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, whole)

    def _next_request(self) -> tuple[str, dict[str, Any]] | None:
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        length = _content_length(head)
        if not separator or len(rest) < length:
            return None
        self._received = rest[length:]
        return head.split(b" ", 2)[1].decode(), json.loads(rest[:length]) if length else {}


def reply(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What a server with ample budget answers."""
    now = int(time.time() * 1000)
    if path == "/v1/reservations":
        granted = {"reservation_id": f"res_{next(_ids)}", "affected_scopes": [_SCOPE], "scope_path": _SCOPE}
        held = {"reserved": body["estimate"], "balances": [_balance(body["estimate"]["unit"])]}
        ttl_ms = body.get("ttl_ms", 60_000)
        lease = {"expires_at_ms": now + ttl_ms, "remaining_ttl_ms": ttl_ms}
        return {"decision": "ALLOW", **lease, **granted, **held}
    if path.endswith("/commit"):
        unit = body["actual"]["unit"]
        charged = {"charged": body["actual"], "released": {"unit": unit, "amount": 0}}
        return {"status": "COMMITTED", **charged, "balances": [_balance(unit)]}
    if path.endswith("/release"):
        return {"status": "RELEASED", "released": {"unit": "USD_MICROCENTS", "amount": 0}}
    if path.endswith("/extend"):
        return {"status": "ACTIVE", "expires_at_ms": now + 60_000, "remaining_ttl_ms": 60_000}
    if path == "/v1/events":
        return {"status": "APPLIED", "event_id": f"evt_{next(_ids)}"}
    return {"decision": "ALLOW", "affected_scopes": [_SCOPE]}


def _balance(unit: str) -> dict[str, Any]:
    amounts = {"remaining": 10**9, "reserved": 5, "spent": 77, "allocated": 2 * 10**9}
    named = {name: {"unit": unit, "amount": amount} for name, amount in amounts.items()}
    return {"scope": _SCOPE, "scope_path": _SCOPE, **named}


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


async def serve(delay: float) -> None:
    """Answer until the parent closes our standard input."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000))
