"""`serve`: the embedded server as a program of its own, with budgets from a YAML file."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from cycles_otel.local import Key, LocalCycles
from cycles_otel.local.errors import InvalidParameter
from cycles_otel.local.extra import explain_missing
from cycles_otel.local.seed import make
from cycles_otel.local.server import NOTICE, is_loopback

try:
    import yaml
except ModuleNotFoundError as missing:
    explain_missing(missing)

SECTIONS = ("budgets", "tenants", "keys")


def serve(budgets_file: str | Path, host: str = "127.0.0.1", port: int = 7878, db: str | Path | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM, and print where, and with which keys.

    The file is YAML. Only `budgets` is needed; a budget is an amount, or a mapping of the fields of `Budget`:

        budgets:
          tenant:acme:
            USD_MICROCENTS: 10_000_000
            TOKENS: {allocated: 50_000, overdraft_limit: 1_000}
          tenant:acme/agent:triage:
            RISK_POINTS: {allocated: 100, caps: {tool_denylist: [shell]}}
        tenants:                # the fields of `Tenant`, by name
          acme: {default_commit_overage_policy: REJECT}
        keys:                   # the fields of `Key`; a tenant without one gets one
          - {name: acme, tenant: acme, secret: cyc_test_0123456789}

    Parameters
    ----------
    budgets_file: the file's path.
    host: the address to listen on; any but loopback opens the server to the network.
    port: the port, 0 for any that is free.
    db: a file that keeps the ledger, so that it survives a restart; in memory by default. What it holds already
        counts more than `budgets_file`.

    Raises
    ------
    InvalidParameter: the file cannot be read, or has something in it that is not allowed.
    OSError: the address cannot be listened on.
    """
    contents = read_budgets_file(Path(budgets_file))
    server = LocalCycles(**contents, host=host, port=port, db=db)
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with server:
            _announce(server, host)
            stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce(server: LocalCycles, host: str) -> None:
    print(NOTICE)
    if not is_loopback(host):
        print(f"WARNING: {host} is no loopback address; anybody who reaches it can use this server.")
    print(f"Listening on {server.url}")
    for key in server.keys:
        print(f"  key {key.name} of tenant {key.tenant} ({key.status}): {key.secret}")
    print("Ctrl-C ends it.", flush=True)


def read_budgets_file(path: Path) -> dict[str, Any]:
    """The budgets, tenants and keys of a file, as `LocalCycles` takes them.

    Raises
    ------
    InvalidParameter: the file cannot be read, or is not of the form that `serve` describes.
    """
    try:
        contents = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InvalidParameter("budgets file", str(path), f"a file that can be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidParameter("budgets file", str(path), f"a YAML file ({reason})") from None
    if not isinstance(contents, dict) or "budgets" not in contents:
        raise InvalidParameter("budgets file", str(path), "a mapping with the key 'budgets'")
    for section in contents:
        if section not in SECTIONS:
            raise InvalidParameter(f"{path}: {section}", contents[section], "one of the keys " + ", ".join(SECTIONS))
    return {**contents, "keys": _keys(contents.get("keys") or []), "tenants": contents.get("tenants") or {}}


def _keys(values: object) -> list[Key]:
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        raise InvalidParameter("keys", values, "a list of mappings with 'name' and 'tenant'")
    return [make(Key, f"keys[{index}]", each) for index, each in enumerate(values)]
