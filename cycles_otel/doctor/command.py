"""``cycles-otel doctor``."""

from __future__ import annotations

from rich.console import Console

from cycles_otel.doctor.examination import examine
from cycles_otel.doctor.report import as_json, show
from cycles_otel.doctor.setup import Asked
from cycles_otel.quiet import quiet


def run_doctor(asked: Asked, *, json: bool) -> int:
    """Look at everything; 1 where there is something to mend."""
    # What they log is shown here, as a finding.
    with quiet("runcycles", "cycles_otel", "opentelemetry"):
        if json:
            text, is_well = as_json(examine(asked))
            print(text)
        else:
            is_well = show(examine(asked), Console(highlight=False))
    return 0 if is_well else 1
