"""What sends spans or metrics by itself: asked to flush, ended within a bound, and begun anew in a forked child."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.last_call import LastCall


class Sender(Protocol):
    """What sends by itself, now and then: a span processor or a metric reader."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is waiting."""

    def shutdown(self) -> None:
        """Send what is waiting, and stop."""


class Heeded:
    """An exporter that counts what did not arrive: a sender of the SDK forgets that.

    Parameters
    ----------
    make: makes it, and makes it again in a forked child, since two processes cannot share a connection.
    """

    def __init__(self, make: Callable[[], Any], exporter: Any = None) -> None:
        self._make = make
        self._exporter = make() if exporter is None else exporter
        self._is_the_parents = False
        self._leaves_ours_out = False
        self.failures = 0

    def export(self, batch: Any, *args: Any, **options: Any) -> Any:
        """Send a batch, and note whether that worked."""
        if self._is_the_parents:
            self._exporter, self._is_the_parents = self._make(), False
        if self._leaves_ours_out and hasattr(batch, "resource_metrics"):
            batch = _without_ours(batch)
        result = self._exporter.export(batch, *args, **options)
        self.failures += result.name != "SUCCESS"
        return result

    def after_fork(self) -> None:
        """In a forked child: what our metrics have counted is the parent's as well."""
        self._is_the_parents = self._leaves_ours_out = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)


class Exporting:
    """What has been set up to export; ``exporter`` is None where the sender exports by itself."""

    def __init__(self, sender: Sender, exporter: Heeded | None) -> None:
        self._sender = sender
        self._exporter = exporter
        self._end = LastCall(sender.shutdown)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is waiting, and say whether all of it arrived since this was last asked."""
        flushed = self._sender.force_flush(timeout_millis)
        if self._exporter is None:
            return flushed
        failures, self._exporter.failures = self._exporter.failures, 0
        return flushed and not failures

    def begin_shutdown(self) -> None:
        """Send what is waiting, and stop; without waiting for that."""
        self._end.make()

    def is_shut_down(self, timeout: float) -> bool:
        """Wait for that, ``timeout`` s at most, and say whether it is done."""
        return self._end.is_over(timeout)

    def after_fork(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._end = LastCall(self._sender.shutdown)
        if self._exporter is not None:
            self._exporter.after_fork()


def _without_ours(batch: Any) -> Any:
    return dataclasses.replace(
        batch,
        resource_metrics=[
            dataclasses.replace(
                resource, scope_metrics=[each for each in resource.scope_metrics if each.scope.name != semconv.SCOPE]
            )
            for resource in batch.resource_metrics
        ],
    )
