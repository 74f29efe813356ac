"""How gunicorn runs the service; it reads this file by itself where it is started in this folder."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn_worker import UvicornWorker

REQUESTS, SETTLEMENT, TELEMETRY = 30, 10, 5
"""How long the end of a worker may take, in s: CYCLES_RETRY_FLUSH_TIMEOUT and flush_timeout are the last two."""


_FIRST_REQUEST = 5


class Connection(H11Protocol):
    """Does not end before its first request: that may be on its way when a worker stops."""

    def shutdown(self) -> None:
        if self.cycle is None:
            self.loop.call_later(_FIRST_REQUEST, super().shutdown)
        else:
            super().shutdown()


class Worker(UvicornWorker):
    """Gives running requests their time, and begins only where the application could."""

    CONFIG_KWARGS = {  # noqa: RUF012, as in its base class
        "http": Connection,
        "lifespan": "on",
        "timeout_graceful_shutdown": REQUESTS,
    }


wsgi_app = "app:app"
bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = Worker
graceful_timeout = REQUESTS + SETTLEMENT + TELEMETRY + 5
# While a worker ends it gives no sign of life: without this it would be killed before its time is over.
timeout = graceful_timeout + 10
# Newer versions take commands at one address for all services of a user, where the last one started gets them.
control_socket_disable = True

# It must be named before anything imports prometheus_client, and what lies in it counts.
_own_folder = Path(tempfile.gettempdir()) / f"service-metrics-{os.getpid()}"
metrics_folder = Path(os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(_own_folder)))


def on_starting(server: Any) -> None:
    """What an earlier start has left would be counted again."""
    metrics_folder.mkdir(parents=True, exist_ok=True)
    for old in metrics_folder.glob("*.db"):
        old.unlink()


def child_exit(server: Any, worker: Any) -> None:
    """What a dead worker has counted stays; what it held, and the balances that it saw, go."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid, str(metrics_folder))  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """The folder goes with the master, where it is the master's."""
    if metrics_folder == _own_folder:
        shutil.rmtree(metrics_folder, ignore_errors=True)
