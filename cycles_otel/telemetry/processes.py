"""The metrics of several processes on one page: the multiprocess mode of ``prometheus_client``.

It is on where ``PROMETHEUS_MULTIPROC_DIR`` names a folder before that library is imported. Counters and histograms of
a process that is gone stay in the sum; what it held, and the balances that it saw last, do not.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cycles_otel.telemetry.errors import TelemetrySetupError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

logger = logging.getLogger("cycles_otel")

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_GAUGES = re.compile(r"gauge_live[a-z]+_(\d+)\.db")


def is_multiprocess() -> bool:
    """Whether metrics are kept in files, for all processes; warns where that was asked for too late."""
    from prometheus_client.values import MutexValue, ValueClass

    in_memory = ValueClass is MutexValue
    if in_memory and VARIABLE in os.environ:
        _warn_of_a_late_folder()
    return not in_memory


def served_registry(registry: CollectorRegistry | None) -> CollectorRegistry:
    """What a page shows: ``registry`` (by default the default one), or in multiprocess mode that of all processes.

    Raises
    ------
    TelemetrySetupError: for a folder that does not exist.
    """
    from prometheus_client import REGISTRY, CollectorRegistry

    if not is_multiprocess():
        return REGISTRY if registry is None else registry
    folder = os.environ.get(VARIABLE, "")
    if not os.path.isdir(folder):
        raise TelemetrySetupError(VARIABLE, folder, "a folder that exists, and is empty when the program starts")
    all_processes = CollectorRegistry()
    all_processes.register(AllProcesses(Path(folder)))
    return all_processes


class AllProcesses:
    """Collects the metrics of all processes; first it removes the gauges of those that are gone.

    ``prometheus_client`` leaves that to a hook of the process manager, which not each of them has. Here it needs none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """All metrics, summed or picked as their kinds demand."""
        from prometheus_client.multiprocess import MultiProcessCollector

        self._forget_the_dead()
        nothing: CollectorRegistry | None = None
        metrics: Iterable[Metric] = MultiProcessCollector(nothing, str(self._folder)).collect()  # type: ignore[no-untyped-call]
        return metrics

    def _forget_the_dead(self) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        found = (_LIVE_GAUGES.fullmatch(name) for name in os.listdir(self._folder))
        processes = {int(each[1]) for each in found if each is not None}
        # Whoever names its files by anything but process ids (a worker's number) has to look after them itself.
        if os.getpid() not in processes:
            return
        for process in processes:
            if not _is_alive(process):
                with contextlib.suppress(FileNotFoundError):
                    mark_process_dead(process, str(self._folder))  # type: ignore[no-untyped-call]


@functools.cache
def _warn_of_a_late_folder() -> None:
    logger.warning(
        "%s was set after prometheus_client had been imported: each process counts for itself. "
        "Set it before the program starts",
        VARIABLE,
    )


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
