"""All checks, in the order of the chain: what depends on something that failed is not checked, and says so."""

from __future__ import annotations

from collections.abc import Iterator

from cycles_otel.doctor import journal, metrics, otlp, program, server
from cycles_otel.doctor.finding import Finding, skipped
from cycles_otel.doctor.setup import Asked, environment

_TIMEOUT = 5.0


def examine(asked: Asked) -> Iterator[Finding]:
    """Each finding as soon as it is there."""
    yield from program.look()
    found, config, subject = environment(asked)
    yield from found
    if config is None or subject is None:
        yield from (skipped(each, "the environment makes no set-up") for each in (server.SERVER, journal.JOURNAL))
    else:
        yield from server.look(config, subject, asked)
        yield from journal.look(config)
    timeout = asked.timeout or _TIMEOUT
    yield from otlp.look(timeout)
    yield from metrics.look(asked.metrics_url, timeout)
