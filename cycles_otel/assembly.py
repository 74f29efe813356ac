"""Where budgets and telemetry meet: a governor whose every call is observed."""

from __future__ import annotations

from runcycles import CyclesConfig

from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.telemetry import Recorder, TelemetryObserver, default_recorder, observe_client


def observed_governor(config: CyclesConfig, policy: Policy, recorder: Recorder | None) -> Governor:
    """A governor that tells ``recorder``, by default the one of the process, what it does."""
    if recorder is not None and not isinstance(recorder, Recorder):
        raise InvalidParameterTypeError("recorder", recorder, "a cycles_otel.Recorder")
    told = recorder or default_recorder()
    return Governor(config, policy, TelemetryObserver(told), lambda client: observe_client(client, told))
