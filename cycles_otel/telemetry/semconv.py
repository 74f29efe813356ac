"""The one table of telemetry: every span, event, attribute and metric that this package emits.

Every other module takes names from here; the instruments of both back ends and the reference page in ``docs/`` are
made from it. An attribute key is the same on spans and metrics; Prometheus spells its dots as underscores.
"""

from __future__ import annotations

from cycles_otel.telemetry.schema import Kind, Metric, Span

SCOPE = "cycles_otel"
"""The name of the instrumentation scope."""

# --- Attribute keys -------------------------------------------------------------------------------------------------

NAMESPACE = "cycles."
OPERATION_NAME = "cycles.operation.name"
ACTION_KIND = "cycles.action.kind"
ACTION_NAME = "cycles.action.name"
TENANT = "cycles.tenant"
WORKSPACE = "cycles.workspace"
APP = "cycles.app"
WORKFLOW = "cycles.workflow"
AGENT = "cycles.agent"
TOOLSET = "cycles.toolset"
RUN_ID = "cycles.run.id"
RUN_OUTCOME = "cycles.run.outcome"
RUN_BRACKETING = "cycles.run.bracketing"
RESERVATION_ID = "cycles.reservation.id"
RESERVATION_OUTCOME = "cycles.reservation.outcome"
IDEMPOTENCY_KEY = "cycles.idempotency.key"
REQUEST_ID = "cycles.request.id"
UNIT = "cycles.unit"
AMOUNT_ESTIMATED = "cycles.amount.estimated"
AMOUNT_ACTUAL = "cycles.amount.actual"
AMOUNT_CHARGED = "cycles.amount.charged"
AMOUNT_RELEASED = "cycles.amount.released"
AMOUNT_SOURCE = "cycles.amount.source"
DECISION = "cycles.decision"
REASON_CODE = "cycles.reason_code"
DENIAL_POLICY = "cycles.denial.policy"
CAPS_MAX_TOKENS = "cycles.caps.max_tokens"
CAPS_MAX_STEPS_REMAINING = "cycles.caps.max_steps_remaining"
CAPS_TOOL_ALLOWLIST = "cycles.caps.tool_allowlist"
CAPS_TOOL_DENYLIST = "cycles.caps.tool_denylist"
CAPS_COOLDOWN_MS = "cycles.caps.cooldown_ms"
TTL = "cycles.ttl"
OVERAGE_POLICY = "cycles.overage_policy"
DRY_RUN = "cycles.dry_run"
FAIL_OPEN = "cycles.fail_open"
SCOPE_PATH = "cycles.scope.path"
REMAINING = "cycles.remaining"
TARGET = "cycles.target"
USAGE_INPUT_TOKENS = "cycles.usage.input_tokens"
USAGE_OUTPUT_TOKENS = "cycles.usage.output_tokens"
USAGE_CACHED_TOKENS = "cycles.usage.cached_tokens"
RELEASE_REASON = "cycles.release.reason"
HEARTBEAT_SEQUENCE = "cycles.heartbeat.sequence"
HEARTBEAT_MARGIN = "cycles.heartbeat.margin"
HEARTBEAT_DISPOSITION = "cycles.heartbeat.disposition"
RETRY_ATTEMPT = "cycles.retry.attempt"
TELEMETRY_SIGNAL = "cycles.telemetry.signal"
TELEMETRY_CAUSE = "cycles.telemetry.cause"
EXPORTER_TARGET = "cycles.exporter.target"
VERSION = "cycles.version"
PRICE_DATA_VERSION = "cycles.price.data_version"
PRICE_SOURCE = "cycles.price.source"
PRICE_MULTIPLIER = "cycles.price.multiplier"
AGENT_NAME = "gen_ai.agent.name"
MODEL = "gen_ai.request.model"
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOKEN_TYPE = "gen_ai.token.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
HTTP_STATUS_CODE = "http.response.status_code"
RESEND_COUNT = "http.request.resend_count"
ERROR_TYPE = "error.type"

SUBJECT_LEVELS = {
    "tenant": TENANT,
    "workspace": WORKSPACE,
    "app": APP,
    "workflow": WORKFLOW,
    "agent": AGENT,
    "toolset": TOOLSET,
}
CAPS = {
    "max_tokens": CAPS_MAX_TOKENS,
    "max_steps_remaining": CAPS_MAX_STEPS_REMAINING,
    "tool_allowlist": CAPS_TOOL_ALLOWLIST,
    "tool_denylist": CAPS_TOOL_DENYLIST,
    "cooldown_ms": CAPS_COOLDOWN_MS,
}
USAGE = {"input": USAGE_INPUT_TOKENS, "output": USAGE_OUTPUT_TOKENS, "cached": USAGE_CACHED_TOKENS}
_STEP_ATTRIBUTES = (
    *(ACTION_KIND, ACTION_NAME),
    *SUBJECT_LEVELS.values(),
    *(RUN_ID, AGENT_NAME, MODEL, TOOL_NAME, TOOL_CALL_ID),
)
_CALL_ATTRIBUTES = (
    *(OPERATION_NAME, RESERVATION_ID, IDEMPOTENCY_KEY, REQUEST_ID, SERVER_ADDRESS, SERVER_PORT, HTTP_STATUS_CODE),
    *(RESEND_COUNT, ERROR_TYPE),
    *_STEP_ATTRIBUTES,
)
_ADMISSION_ATTRIBUTES = (
    *(UNIT, AMOUNT_ESTIMATED, DECISION, REASON_CODE, TTL, OVERAGE_POLICY, DRY_RUN, SCOPE_PATH),
    *CAPS.values(),
)
_PRICE_ATTRIBUTES = (PRICE_SOURCE, PRICE_DATA_VERSION, PRICE_MULTIPLIER)
_CHARGE_ATTRIBUTES = (
    *(AMOUNT_ACTUAL, AMOUNT_CHARGED, AMOUNT_RELEASED, AMOUNT_SOURCE),
    *USAGE.values(),
    *_PRICE_ATTRIBUTES,
)
SPAN_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "every API call": _CALL_ATTRIBUTES,
    "reserve": _ADMISSION_ATTRIBUTES,
    "decide": _ADMISSION_ATTRIBUTES,
    "commit": _CHARGE_ATTRIBUTES,
    "event": _CHARGE_ATTRIBUTES,
    "release": (AMOUNT_RELEASED, RELEASE_REASON),
    "extend": (HEARTBEAT_SEQUENCE, HEARTBEAT_MARGIN),
    "cycles.reservation": (
        *(RESERVATION_ID, RESERVATION_OUTCOME, ERROR_TYPE, UNIT, AMOUNT_ESTIMATED, AMOUNT_ACTUAL, AMOUNT_CHARGED),
        *(AMOUNT_RELEASED, AMOUNT_SOURCE),
        *_PRICE_ATTRIBUTES,
        *_STEP_ATTRIBUTES,
    ),
    "cycles.run": (RUN_ID, AGENT_NAME, RUN_OUTCOME, ERROR_TYPE),
}
"""What each span may say: of an API call, what every call says and what its operation adds."""
CALL_FACTS = frozenset(
    {AMOUNT_SOURCE, RELEASE_REASON, HEARTBEAT_SEQUENCE, HEARTBEAT_MARGIN, TTL, OVERAGE_POLICY, DRY_RUN, *USAGE.values()}
)
"""What a caller may add to the span of a request; whatever else it names stays off the span."""
FREE_TEXT = frozenset(
    {
        *(TENANT, WORKSPACE, APP, WORKFLOW, ACTION_KIND, AGENT_NAME, MODEL, TOOL_NAME, TARGET, SCOPE_PATH),
        *(REASON_CODE, ERROR_TYPE),
    }
)
"""Keys whose values are chosen by the program or by the server: the cardinality guard bounds these."""
OTHER = "_other"
"""Stands for every value that the cardinality guard folded."""

# --- Spans and events -----------------------------------------------------------------------------------------------


RUN_SPAN = Span("cycles.run", AGENT_NAME, "INTERNAL", "none", "a run, where no other span is current")
RESERVATION_SPAN = Span(
    "cycles.reservation", ACTION_KIND, "INTERNAL", "the caller's current span", "before the reserve until settled"
)
_RESERVATION_CALLS = ("reserve", "commit", "release", "extend")
_PLAIN_CALLS = ("balances", "list", "get")
OPERATION_SPANS = {
    name: Span(
        name,
        None if name in _PLAIN_CALLS else ACTION_KIND,
        "CLIENT",
        "the reservation" if name in _RESERVATION_CALLS else "the caller's current span",
        "one HTTP request",
    )
    for name in ("reserve", "commit", "release", "extend", "decide", "event", "balances", "get", "list")
}
SPANS = (RUN_SPAN, RESERVATION_SPAN, *OPERATION_SPANS.values())

EVENT_DENIED = "cycles.denied"
EVENT_DEGRADED = "cycles.degraded"
EVENT_WOULD_DENY = "cycles.would_deny"
EVENT_CAPS_APPLIED = "cycles.caps_applied"
EVENT_RETRY = "cycles.retry"
EVENT_HEARTBEAT_FAILED = "cycles.heartbeat_failed"
EVENT_SETTLEMENT_QUEUED = "cycles.settlement_queued"
EVENT_OVERAGE = "cycles.overage"
EVENT_PRICE_UNKNOWN = "cycles.price_unknown"
EVENT_UNENFORCED = "cycles.unenforced"

EVENTS = {
    EVENT_DENIED: (REASON_CODE, SCOPE_PATH, REMAINING),
    EVENT_DEGRADED: (DENIAL_POLICY, REASON_CODE, MODEL),
    EVENT_WOULD_DENY: (REASON_CODE,),
    EVENT_CAPS_APPLIED: tuple(CAPS.values()),
    EVENT_RETRY: (OPERATION_NAME, RETRY_ATTEMPT, ERROR_TYPE),
    EVENT_HEARTBEAT_FAILED: (HEARTBEAT_DISPOSITION, ERROR_TYPE),
    EVENT_SETTLEMENT_QUEUED: (),
    EVENT_OVERAGE: (AMOUNT_CHARGED, AMOUNT_ESTIMATED),
    EVENT_PRICE_UNKNOWN: (MODEL,),
    EVENT_UNENFORCED: (ERROR_TYPE,),
}
"""The events of the reservation's span, with the attributes of each."""

# --- Values ---------------------------------------------------------------------------------------------------------

ALLOW = "ALLOW"
ALLOW_WITH_CAPS = "ALLOW_WITH_CAPS"
DENY = "DENY"
ERROR_OTHER = "_OTHER"
"""The ``error.type`` of a reply that is not the protocol's, and of whatever has no better name."""

SETTLEMENTS = ("committed", "released", "expired", "settled_by_event", "queued", "lost")
LOST = "lost"
EXPIRED = "expired"
DENIED = "denied"
WOULD_DENY = "would_deny"
WOULD_ALLOW = "would_allow"
UNENFORCED = "unenforced"
UNBUDGETED = "unbudgeted"
FAILED = "failed"
SOURCE_ESTIMATE = "estimate"
RAISE = "raise"

VALUES: dict[str, tuple[str, ...]] = {
    DECISION: (ALLOW, ALLOW_WITH_CAPS, DENY),
    DENIAL_POLICY: (RAISE, "downgrade", "disable", "defer"),
    RESERVATION_OUTCOME: (*SETTLEMENTS, DENIED, WOULD_DENY, WOULD_ALLOW, UNENFORCED, UNBUDGETED, FAILED),
    RUN_OUTCOME: ("completed", DENIED, FAILED, "cancelled"),
    AMOUNT_SOURCE: ("usage", "price", "risk_points", SOURCE_ESTIMATE),
    PRICE_SOURCE: ("data", "table", "function"),
    RELEASE_REASON: (
        "run_failed",
        "run_cancelled",
        "tool_not_run",
        "guardrail",
        "requested",
        "shutdown",
        "commit_refused",
        "reply_lost",
    ),
    HEARTBEAT_DISPOSITION: ("retry", "stop"),
    TOKEN_TYPE: ("input", "output", "cached", "reasoning"),
    RUN_BRACKETING: ("active", "inactive"),
    TELEMETRY_SIGNAL: ("traces", "metrics"),
}
"""The values of the keys that have a closed set of them."""

# --- Metrics --------------------------------------------------------------------------------------------------------


def _counter(name: str, unit: str, attributes: tuple[str, ...], description: str, *, exemplars: bool = False) -> Metric:
    return Metric(f"cycles.client.{name}", Kind.COUNTER, f"{{{unit}}}", attributes, description, exemplars=exemplars)


def _histogram(
    name: str, unit: str, attributes: tuple[str, ...], description: str, buckets: tuple[float, ...]
) -> Metric:
    return Metric(f"cycles.client.{name}", Kind.HISTOGRAM, unit, attributes, description, buckets, exemplars=True)


def _gauge(name: str, unit: str, attributes: tuple[str, ...], description: str, multiprocess: str) -> Metric:
    return Metric(f"cycles.{name}", Kind.GAUGE, unit, attributes, description, multiprocess=multiprocess)


def _amount(name: str, description: str) -> Metric:
    keys = (UNIT, ACTION_KIND, TENANT, AGENT_NAME, TARGET, WORKSPACE, APP, WORKFLOW)
    return _counter(f"amount.{name}", "amount", keys, description)


def _budget(name: str, unit: str, description: str, multiprocess: str = "livemostrecent") -> Metric:
    return _gauge(f"budget.{name}", unit, (SCOPE_PATH, TENANT, UNIT), description, multiprocess)


_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_RESERVATION_SECONDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.5, 2.0, 5.0, 10.0)
_MARGIN_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0)
_MICROCENTS = (1e5, 5e5, 1e6, 5e6, 1e7, 5e7, 1e8, 5e8, 1e9, 1e10)
_POWERS_OF_4 = tuple(float(4**exponent) for exponent in range(1, 13))

OPERATION_DURATION = _histogram(
    "operation.duration", "s", (OPERATION_NAME, DECISION, ERROR_TYPE), "Duration of each API call.", _CALL_SECONDS
)
DECISIONS = _counter(
    "decisions",
    "decision",
    (OPERATION_NAME, DECISION, REASON_CODE, ACTION_KIND, TENANT, AGENT_NAME, DRY_RUN),
    "Admissions, denials with their reasons, and denials that would have been.",
    exemplars=True,
)
DENIALS = _counter(
    "denials",
    "denial",
    (ACTION_KIND, REASON_CODE, TENANT, AGENT_NAME, DENIAL_POLICY),
    "Denials of steps, by the server or by caps, with what was done about each.",
    exemplars=True,
)
AMOUNT_RESERVED_TOTAL = _amount("reserved", "Budget that was held.")
AMOUNT_COMMITTED_TOTAL = _amount("committed", "Budget that was charged.")
AMOUNT_RELEASED_TOTAL = _amount("released", "Budget that was given back.")
AMOUNT_DENIED_TOTAL = _amount("denied", "Budget that was refused.")
AMOUNT_UNCHARGED_TOTAL = _amount("uncharged", "What was used but not charged, since the overage policy capped it.")
TOKENS = _counter("tokens", "token", (TOKEN_TYPE, AGENT_NAME, MODEL), "Tokens used by governed calls.")
SETTLEMENT_COUNT = _counter(
    "settlements",
    "settlement",
    (ACTION_KIND, RESERVATION_OUTCOME, AMOUNT_SOURCE),
    "How reservations ended, and how what was used without one was charged; lost must be 0.",
    exemplars=True,
)
UNENFORCED_STEPS = _counter(
    "unenforced", "step", (ACTION_KIND, ERROR_TYPE), "Steps that ran unguarded.", exemplars=True
)
UNBUDGETED_STEPS = _counter("unbudgeted", "step", (ACTION_KIND, UNIT), "Steps that ran without a budget.")
PRICE_UNKNOWN = _counter("price.unknown", "call", (MODEL,), "Calls that were charged at their estimate.")
HOSTED_CALLS = _counter(
    "hosted_calls",
    "call",
    (TOOL_NAME, AGENT_NAME, MODEL),
    "Calls of tools that the provider hosts, which no hook sees.",
)
RESERVATIONS_ACTIVE = Metric(
    "cycles.client.reservations.active",
    Kind.UPDOWNCOUNTER,
    "{reservation}",
    (ACTION_KIND,),
    "Reservations that this process holds now.",
    multiprocess="livesum",
)
RESERVATION_DURATION = _histogram(
    "reservation.duration", "s", (ACTION_KIND, RESERVATION_OUTCOME), "From reserve to settlement.", _RESERVATION_SECONDS
)
ESTIMATE_RATIO = _histogram(
    "estimate.ratio", "", (ACTION_KIND, UNIT), "What was used / the estimate, where it is known.", _RATIOS
)
HEARTBEAT_MARGIN_SECONDS = _histogram(
    "heartbeat.margin", "s", (), "Time to live that was left when a heartbeat was acknowledged.", _MARGIN_SECONDS
)
HEARTBEAT_FAILURES = _counter(
    "heartbeat.failures", "failure", (ERROR_TYPE, HEARTBEAT_DISPOSITION), "Heartbeats that failed."
)
JOURNAL_FAILURES = _counter(
    "journal.failures", "failure", (ERROR_TYPE,), "Known spends that could not be written to the journal."
)
CIRCUITS_OPEN = Metric(
    "cycles.client.circuits.open",
    Kind.UPDOWNCOUNTER,
    "{circuit}",
    (),
    "Connections whose steps do not ask the server for now, since it gives no answer.",
    multiprocess="livesum",
)
BACKLOG = _gauge("client.settlement.backlog", "{commit}", (), "Settlements that wait in the journal.", "livesum")
OLDEST = _gauge("client.settlement.oldest", "s", (), "Age of the oldest settlement in the journal.", "livemax")
RUNS = _counter("runs", "run", (AGENT_NAME, RUN_OUTCOME), "Runs of an agent.")
RUN_AMOUNTS = {
    unit: _histogram(
        f"run.amount.{unit.lower()}",
        "{amount}",
        (AGENT_NAME, RUN_OUTCOME),
        f"Committed by one run, in {unit}.",
        _MICROCENTS if unit == "USD_MICROCENTS" else _POWERS_OF_4,
    )
    for unit in ("USD_MICROCENTS", "TOKENS", "CREDITS", "RISK_POINTS")
}
LEAKED = _counter("leaked", "reservation", (), "Reservations left open after the end of their run; must be 0.")
TELEMETRY_DROPPED = _counter(
    "telemetry.dropped", "item", (TELEMETRY_SIGNAL, TELEMETRY_CAUSE), "Faults of the telemetry itself, folded labels."
)
INFO = _gauge(
    "client.info",
    "{info}",
    (VERSION, FAIL_OPEN, DRY_RUN, RUN_BRACKETING, PRICE_DATA_VERSION),
    "Always 1: the settings of this process.",
    "livemax",
)
BUDGETS = {
    field: _budget(field, "{amount}", f"{what}, as the balance was last seen.")
    for field, what in (
        ("allocated", "What the budget was given"),
        ("remaining", "What can still be reserved"),
        ("reserved", "What is held by reservations"),
        ("spent", "What was charged, without the debt"),
        ("debt", "What was charged beyond the budget"),
        ("overdraft_limit", "How much debt is allowed"),
    )
}
BUDGET_OVER_LIMIT = _budget("over_limit", "{flag}", "1 where every new reservation is refused, else 0.")
BUDGET_OBSERVED = _budget("observed", "s", "Unix time at which the balance was last seen.", "livemax")


def _exporter_gauge(name: str, unit: str, description: str) -> Metric:
    return _gauge(f"exporter.{name}", unit, (EXPORTER_TARGET,), description, "livemostrecent")


EXPORTER_UP = _exporter_gauge("up", "{flag}", "1 where the last poll of the target's balances worked, else 0.")
EXPORTER_LAST_SUCCESS = _exporter_gauge(
    "last_success.timestamp", "s", "Unix time at which the target's balances were last polled without a failure."
)
EXPORTER_INTERVAL = _exporter_gauge("interval", "s", "How often the target is to be polled.")
EXPORTER_BALANCES = _exporter_gauge("balances", "{balance}", "Balances that the last poll of the target found.")
EXPORTER_POLLS = Metric(
    "cycles.exporter.polls",
    Kind.COUNTER,
    "{poll}",
    (EXPORTER_TARGET, ERROR_TYPE),
    "Polls of a target's balances, all pages together; without an error type where they worked.",
)
EXPORTER_EXPIRED = Metric(
    "cycles.exporter.expired",
    Kind.COUNTER,
    "{balance}",
    (),
    "Balances that disappeared, since they were not seen for too long.",
)
_EXPORTER = (
    *(EXPORTER_UP, EXPORTER_LAST_SUCCESS, EXPORTER_INTERVAL, EXPORTER_BALANCES),
    *(EXPORTER_POLLS, EXPORTER_EXPIRED),
)

METRICS = (
    *(OPERATION_DURATION, DECISIONS, DENIALS),
    *(AMOUNT_RESERVED_TOTAL, AMOUNT_COMMITTED_TOTAL, AMOUNT_RELEASED_TOTAL),
    *(AMOUNT_DENIED_TOTAL, AMOUNT_UNCHARGED_TOTAL, TOKENS),
    *(SETTLEMENT_COUNT, UNENFORCED_STEPS, UNBUDGETED_STEPS, PRICE_UNKNOWN, HOSTED_CALLS),
    *(RESERVATIONS_ACTIVE, RESERVATION_DURATION, ESTIMATE_RATIO),
    *(HEARTBEAT_MARGIN_SECONDS, HEARTBEAT_FAILURES, BACKLOG, OLDEST, JOURNAL_FAILURES, CIRCUITS_OPEN),
    *(RUNS, *RUN_AMOUNTS.values(), LEAKED),
    *(TELEMETRY_DROPPED, INFO),
    *(*BUDGETS.values(), BUDGET_OVER_LIMIT, BUDGET_OBSERVED),
    *_EXPORTER,
)
"""Every metric, in the order of the reference page."""
