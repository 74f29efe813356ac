"""The bodies that clients send, field by field, and how a request's bytes become one."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from cycles_otel.local.errors import malformed_body, validation_failed
from cycles_otel.local.fields import AnyObject, Choice, Flag, Integer, Record, Text, TextMap, Texts
from cycles_otel.local.scopes import LEVELS, UNITS

OVERAGE_POLICIES = ("REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT")
DEFAULT_GRACE_MS = 5_000
MAX_TTL_MS = 86_400_000

_SUBJECT_VALUE = Text(
    max_size=128,
    pattern=re.compile(r"[a-zA-Z0-9_.-]+"),
    pattern_message="must contain only alphanumeric, dot, underscore, or hyphen characters",
)


def _needs_a_level(subject: dict[str, Any], path: str, violations: list[str]) -> None:
    if not any((subject[level] or "").strip() for level in LEVELS):
        violations.append(
            f"{path}.hasAtLeastOneStandardField: At least one standard field ({', '.join(LEVELS)}) must be provided"
        )


_IDEMPOTENCY_KEY = Text(min_size=1, max_size=256, required="null")
_AMOUNT = Record(
    {"unit": Choice(UNITS, required=True), "amount": Integer(minimum=0, required=True)},
    required=True,
)
_SUBJECT = Record(
    {**dict.fromkeys(LEVELS, _SUBJECT_VALUE), "dimensions": TextMap(max_items=16, max_size=256)},
    required=True,
    check=_needs_a_level,
)
_ACTION = Record(
    {
        "kind": Text(max_size=64, required="blank"),
        "name": Text(max_size=256, required="blank"),
        "tags": Texts(max_items=10, max_size=64),
    },
    required=True,
)
_METRICS = Record(
    {
        "tokens_input": Integer(minimum=0),
        "tokens_output": Integer(minimum=0),
        "latency_ms": Integer(minimum=0),
        "model_version": Text(max_size=128),
        "custom": AnyObject(),
    }
)

RESERVE = Record(
    {
        "idempotency_key": _IDEMPOTENCY_KEY,
        "subject": _SUBJECT,
        "action": _ACTION,
        "estimate": _AMOUNT,
        "ttl_ms": Integer(minimum=1_000, maximum=MAX_TTL_MS),
        "grace_period_ms": Integer(minimum=0, maximum=60_000, default=DEFAULT_GRACE_MS),
        "overage_policy": Choice(OVERAGE_POLICIES),
        "dry_run": Flag(default=False),
        "metadata": AnyObject(),
    },
    required=True,
)
COMMIT = Record(
    {"idempotency_key": _IDEMPOTENCY_KEY, "actual": _AMOUNT, "metrics": _METRICS, "metadata": AnyObject()},
    required=True,
)
RELEASE = Record({"idempotency_key": _IDEMPOTENCY_KEY, "reason": Text(max_size=256)}, required=True)
EXTEND = Record(
    {
        "idempotency_key": _IDEMPOTENCY_KEY,
        "extend_by_ms": Integer(minimum=1, maximum=MAX_TTL_MS, required=True),
        "metadata": AnyObject(),
    },
    required=True,
)
DECIDE = Record(
    {
        "idempotency_key": _IDEMPOTENCY_KEY,
        "subject": _SUBJECT,
        "action": _ACTION,
        "estimate": _AMOUNT,
        "metadata": AnyObject(),
    },
    required=True,
)
EVENT = Record(
    {
        "idempotency_key": _IDEMPOTENCY_KEY,
        "subject": _SUBJECT,
        "action": _ACTION,
        "actual": _AMOUNT,
        "overage_policy": Choice(OVERAGE_POLICIES),
        "metrics": _METRICS,
        "client_time_ms": Integer(minimum=0),
        "metadata": AnyObject(),
    },
    required=True,
)


def parse_body(content: bytes, record: Record) -> dict[str, Any]:
    """Read a request's bytes as `record`.

    Raises
    ------
    ProtocolError: 400, malformed or with the violations found.
    """
    value = _json_object(content)
    violations: list[str] = []
    body = record.read(value, "", violations)
    if violations or body is None:
        raise validation_failed(violations)
    return body


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        text = content.decode().lstrip()
        value, _ = _DECODER.raw_decode(text)
        if "\\u" in text:
            # An escape can spell half a character, which no text column can hold.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise malformed_body() from None
    if not isinstance(value, dict):
        raise malformed_body()
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
