"""What is told of the polls of one target: metrics for each, a log record whenever their outcome changes."""

from __future__ import annotations

import logging
import time

from cycles_otel.exporter.poller import Poll
from cycles_otel.exporter.targets import Target
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.recorder import Recorder

logger = logging.getLogger("cycles_otel")

_ABOUT_THE_KEY = ("UNAUTHORIZED", "FORBIDDEN", "401", "403")


class Report:
    """Tells of one target."""

    def __init__(self, target: Target, recorder: Recorder) -> None:
        self._target = target
        self._recorder = recorder
        self._last: str | None = None
        with recorder.contained("metrics", "the metrics of a poll"):
            recorder.metrics.record(semconv.EXPORTER_INTERVAL, target.pace.interval, (target.name,))

    def polled(self, poll: Poll) -> None:
        """A poll has ended."""
        with self._recorder.contained("metrics", "the metrics of a poll"):
            self._count(poll)
        if poll.error_type != self._last:
            self._last = poll.error_type
            self._log(poll)

    def _count(self, poll: Poll) -> None:
        record, labels = self._recorder.metrics.record, (self._target.name,)
        record(semconv.EXPORTER_UP, int(poll.worked), labels)
        record(semconv.EXPORTER_POLLS, 1, (*labels, poll.error_type))
        if poll.worked:
            record(semconv.EXPORTER_LAST_SUCCESS, time.time(), labels)
            record(semconv.EXPORTER_BALANCES, poll.balances, labels)

    def _log(self, poll: Poll) -> None:
        name, server = self._target.name, self._target.base_url
        if poll.worked:
            logger.info("Target %s is up: %d balances from %s", name, poll.balances, server)
            return
        mend = "; look at the key and its tenant" if poll.error_type in _ABOUT_THE_KEY else ""
        logger.warning("Target %s is down: %s from %s: %s%s", name, poll.error_type, server, poll.message, mend)
