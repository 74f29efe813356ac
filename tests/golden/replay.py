"""Replays recorded exchanges against the embedded server: `python -m tests.golden.replay DIR`.

One line for each scenario; exit status 1, and what differs, if one does not match.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from cycles_otel.local import Budget, Key, LocalCycles, ManualClock, Tenant
from cycles_otel.local.request_log import operation_of
from cycles_otel.local.tenants import PREFIX_LENGTH, new_secret
from tests.golden.matching import Bindings, is_integer

RECORDINGS = Path(__file__).with_name("recordings")
HEADERS = ("X-Request-Id", "X-Cycles-Trace-Id", "X-Cycles-Tenant", "X-RateLimit-Remaining", "X-RateLimit-Reset")

Json = dict[str, Any]


@dataclass(frozen=True)
class CleanRefusal:
    """A mistake of the caller on which the recorded server breaks with a 500, and ours answers a 4xx.

    Attributes:
        reason: what is wrong with such a request.
        recorded: where it is recorded, as scenario/step.
        statuses: what ours may answer.
    """

    reason: str
    recorded: tuple[str, ...]
    statuses: Sequence[int]

    def covers(self, request: Json) -> bool:
        """Whether `request` makes this mistake."""
        return _mistake(request) == self.reason


CLEAN_REFUSALS = (
    CleanRefusal("limit is no integer", ("balances_refused/4",), (400,)),
    CleanRefusal("include_children is no boolean", ("balances_refused/5",), (400,)),
    CleanRefusal("cursor was never given out", ("balances_refused/6",), (400,)),
    CleanRefusal("content type is not JSON", ("validate_http/4",), (415,)),
    CleanRefusal("the path has no such method", ("validate_http/5", "validate_http/6", "validate_http/8"), (405,)),
    CleanRefusal("there is no such path", ("validate_http/7",), (404,)),
    CleanRefusal("something else", (), range(400, 500)),
)

_METHODS = (
    ("/v1/reservations", ("GET", "POST")),
    ("/v1/reservations/[^/]+", ("GET",)),
    ("/v1/reservations/[^/]+/(commit|release|extend)", ("POST",)),
    ("/v1/(decide|events)", ("POST",)),
    ("/v1/balances", ("GET",)),
)


def _mistake(request: Json) -> str:
    url = urlsplit(request["path"])
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    methods = next((methods for path, methods in _METHODS if re.fullmatch(path, url.path)), None)
    headers = {name.lower(): value for name, value in request.get("headers", {}).items()}
    if methods is None:
        return "there is no such path"
    if request["method"] not in methods:
        return "the path has no such method"
    if request["method"] == "POST" and "json" not in headers.get("content-type", "application/json"):
        return "content type is not JSON"
    if not re.fullmatch(r"-?\d*", query.get("limit", "")):
        return "limit is no integer"
    if query.get("include_children", "").lower() not in ("", "true", "on", "yes", "1", "false", "off", "no", "0"):
        return "include_children is no boolean"
    return "cursor was never given out" if query.get("cursor") else "something else"


class Scenario:
    """One recorded scenario, replayed on a server of its own with a clock that stands still.

    Args:
        recording: the file's content.
    """

    def __init__(self, recording: Json) -> None:
        self._steps: list[Json] = recording["steps"]
        self._keys = _keys(recording["seed"]["keys"])
        self._clock = ManualClock()
        self._server = LocalCycles(
            [Budget(**_known(Budget, budget)) for budget in recording["seed"]["budgets"]],
            tenants=[Tenant(name, **_known(Tenant, each)) for name, each in recording["seed"]["tenants"].items()],
            keys=self._keys,
            clock=self._clock,
            sweep_interval=3600.0,
        )
        self._bindings = Bindings(_placeholders(self._keys, self._server.admin_key))
        self._history: list[tuple[str, Json, Json]] = []
        self._pages: dict[str, tuple[list[Any], list[Any]]] = {}
        self.notes: list[str] = []

    def differences(self) -> list[str]:
        """Replay all steps, and tell how the first answer that differs does; nothing if none does."""
        with self._server, httpx.Client(base_url=self._server.url, trust_env=False, verify=False) as client:
            for number, step in enumerate(self._steps):
                lines = self._exchange(client, step) if "request" in step else self._change(step)
                if lines:
                    return [f"step {number} {_title(step)}", *(f"  {line}" for line in lines)]
        return []

    def _change(self, step: Json) -> list[str]:
        if "wait_ms" in step:
            self._wait(step["wait_ms"])
        elif step.get("await") == "expiry_sweep":
            self._await_sweep()
        elif "set_budget" in step:
            changes = dict(step["set_budget"])
            scope, unit = changes.pop("scope"), changes.pop("unit")
            # What is left is stored by itself: it does not follow the other fields.
            stored = {"remaining": self._server.ledger().budget(scope, unit).remaining}
            self._server.set_budget(scope, unit, **{**stored, **changes})
        elif "set_tenant" in step:
            changes = dict(step["set_tenant"])
            self._server.set_tenant(changes.pop("tenant"), **_known(Tenant, changes))
        else:
            return [f"a step of an unknown kind: {', '.join(step)}"]
        return []

    def _wait(self, ms: int) -> None:
        self._clock.advance(ms)
        self._bindings.elapsed_ms += ms

    def _await_sweep(self) -> None:
        if self._server.sweep() == 0 and (active := self._server.ledger().active):
            due_ms = min(each.expires_ms + each.grace_ms for each in active) + 1
            self._wait(max(0, due_ms - self._clock()))
            self._server.sweep()

    def _exchange(self, client: httpx.Client, step: Json) -> list[str]:
        request, expected = self._bindings.fill(step["request"]), step["response"]
        response = client.request(
            request["method"], request["path"], headers=_headers(request), content=_content(request)
        )
        refusal = next((row for row in CLEAN_REFUSALS if row.covers(request)), None)
        lines = self._header_differences(expected["headers"], response)
        if expected["status"] == 500 and refusal is not None:
            self.notes.append(f"{response.status_code} instead of the recorded 500: {refusal.reason}")
            return lines + _unclean(response, refusal)
        if response.status_code != expected["status"]:
            return [f"status: expected {expected['status']}, got {response.status_code} {response.text}"]
        lines += self._body_differences(step, expected, response)
        self._history.append(
            (operation_of(request["method"], urlsplit(request["path"]).path), request, _json(response))
        )
        return lines + self._relation_differences(step.get("relations", []))

    def _header_differences(self, expected: Json, response: httpx.Response) -> list[str]:
        actual = {name: response.headers[name] for name in HEADERS if name in response.headers}
        others = {name: response.headers.get(name) for name in expected if name not in HEADERS}
        lines = self._bindings.differences(dict(expected), {**actual, **others}, "header")
        body = _json(response)
        if isinstance(body, dict) and "trace_id" in body and body["trace_id"] != actual.get("X-Cycles-Trace-Id"):
            lines.append(f"trace_id: the body's {body['trace_id']} is not the header's")
        return lines

    def _body_differences(self, step: Json, expected: Json, response: httpx.Response) -> list[str]:
        if "json" not in expected:
            text = expected.get("raw_body", expected.get("text"))
            return [] if text is None else self._bindings.differences(text, response.text)
        wanted, actual = expected["json"], _json(response)
        if not isinstance(wanted, dict) or not isinstance(actual, dict):
            return self._bindings.differences(wanted, actual)
        wanted, actual = dict(wanted), dict(actual)
        lines: list[str] = []
        for name in step.get("unordered", []):
            if isinstance(wanted.get(name), list) and isinstance(actual.get(name), list):
                lines += self._bindings.unordered_differences(wanted.pop(name), actual.pop(name), name)
        if "unordered_across_pages" in step:
            lines += self._page_differences(step["unordered_across_pages"], wanted, actual)
        if step.get("unordered_message"):
            wanted["message"], actual["message"] = _parts(wanted["message"]), _parts(actual["message"])
        return lines + self._bindings.differences(wanted, actual)

    def _page_differences(self, name: str, wanted: Json, actual: Json) -> list[str]:
        expected_items, actual_items = wanted.pop(name), actual.pop(name)
        if len(expected_items) != len(actual_items):
            return [f"{name}: expected {len(expected_items)} on this page, got {len(actual_items)}"]
        collected = self._pages.setdefault(name, ([], []))
        collected[0].extend(expected_items)
        collected[1].extend(actual_items)
        if wanted["next_cursor"] is not None:
            return []
        return self._bindings.unordered_differences(*self._pages.pop(name), f"{name} on all pages")

    def _relation_differences(self, relations: list[str]) -> list[str]:
        return [line for relation in relations for line in self._relation_difference(relation)]

    def _relation_difference(self, relation: str) -> list[str]:
        _, _, body = self._history[-1]
        shifted = re.fullmatch(r"(\w+) == \((?:previous )?(\w+)\)\.\w+ \+ (\d+)", relation)
        same = re.fullmatch(r"(\w+) equals the (?:original|first (\w+)'s)", relation)
        if shifted is not None:
            earlier = self._earlier(shifted[2], first=False)
            return _unequal(relation, body.get(shifted[1]), earlier.get(shifted[1]), int(shifted[3]))
        if same is not None:
            earlier = self._earlier(same[2], first=True) if same[2] else self._original()
            return _unequal(relation, body.get(same[1]), earlier.get(same[1]), 0)
        self.notes.append(f"relation not checked by itself: {relation}")
        return []

    def _earlier(self, operation: str, first: bool) -> Json:
        bodies = [body for name, _, body in self._history[:-1] if name == operation]
        return (bodies[0] if first else bodies[-1]) if bodies else {}

    def _original(self) -> Json:
        name, request, _ = self._history[-1]
        key = request["json"]["idempotency_key"]
        for earlier_name, earlier, body in self._history[:-1]:
            if earlier_name == name and earlier.get("json", {}).get("idempotency_key") == key:
                return body
        return {}


def _keys(seeded: dict[str, Json]) -> list[Key]:
    return [Key(name, secret=new_secret(), **_known(Key, values)) for name, values in seeded.items()]


def _placeholders(keys: Sequence[Key], admin_key: str) -> dict[str, str]:
    known = {f"<key:{key.name}>": key.secret for key in keys}
    wrong = {f"<key:{key.name}/wrong-secret>": key.secret[:PREFIX_LENGTH] + "-but-wrong" for key in keys}
    return {**known, **wrong, "<admin_key>": admin_key}


def _known(kind: type, values: Json) -> Json:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def _headers(request: Json) -> dict[str, str]:
    headers = {"Content-Type": "application/json"} if "json" in request or "raw_body" in request else {}
    return {**headers, **request.get("headers", {})}


def _content(request: Json) -> str | None:
    if "raw_body" in request:
        raw: str = request["raw_body"]
        return raw
    return json.dumps(request["json"]) if "json" in request else None


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _unclean(response: httpx.Response, refusal: CleanRefusal) -> list[str]:
    if response.status_code not in refusal.statuses:
        return [f"status: expected a clean refusal since {refusal.reason}, got {response.status_code}"]
    body = _json(response)
    if not isinstance(body, dict) or not {"error", "message", "request_id", "trace_id"} <= body.keys():
        return [f"body: expected an error of the protocol, got {response.text}"]
    return []


def _parts(message: str) -> list[str]:
    head, _, tail = message.partition(": ")
    return [head, *sorted(tail.split(", "))]


def _unequal(relation: str, value: Any, earlier: Any, shift: int) -> list[str]:
    if is_integer(value) and is_integer(earlier) and value == earlier + shift:
        return []
    return [f"relation {relation}: got {value!r} after {earlier!r}"]


def _title(step: Json) -> str:
    request = step.get("request")
    return f"{request['method']} {request['path']}" if request else json.dumps(step)


def replay(directory: Path) -> int:
    """Replay all recordings of `directory`, print a line for each, and return how many differ."""
    paths = sorted(directory.glob("*.json"))
    failed = 0
    for path in paths:
        scenario = Scenario(json.loads(path.read_text()))
        differences = scenario.differences()
        failed += bool(differences)
        print("FAIL" if differences else "ok  ", path.stem, *(f"[{note}]" for note in scenario.notes))
        for line in differences:
            print("    ", line)
    print(f"{len(paths) - failed} of {len(paths)} scenarios match")
    return failed if paths else 1


def main(arguments: Sequence[str]) -> int:
    """The command line: a folder of recordings, by default the ones beside this file."""
    return 1 if replay(Path(arguments[0]) if arguments else RECORDINGS) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
