"""Where budgets and telemetry meet: a governor whose every call is observed."""

from __future__ import annotations

from dataclasses import replace

from runcycles import CyclesConfig

from cycles_otel.addresses import warn_of_plain_http
from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.telemetry import Recorder, TelemetryObserver, default_recorder, observe_client
from cycles_otel.telemetry.life import Mirror


def observed_governor(
    config: CyclesConfig,
    policy: Policy,
    recorder: Recorder | None,
    *,
    tenant: str | None,
    mirror: Mirror | None = None,
) -> Governor:
    """A governor that tells ``recorder``, by default the one of the process, what it does.

    ``tenant`` is the one that the key belongs to, where that is known: it names the journal, whatever key comes next.
    ``mirror`` shows reservations at another place as well.
    """
    if recorder is not None and not isinstance(recorder, Recorder):
        raise InvalidParameterTypeError("recorder", recorder, "a cycles_otel.Recorder")
    told = recorder or default_recorder()
    warn_of_plain_http(config.base_url)
    if tenant is not None:
        config = replace(config, tenant=tenant)
    return Governor(config, policy, TelemetryObserver(told, mirror), lambda client: observe_client(client, told))
