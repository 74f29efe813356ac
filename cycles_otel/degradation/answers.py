"""One denial after the other, and the policy that answers each: every policy once, and then the denial itself."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cycles_otel import caps
from cycles_otel.budget.observer import ReservationObserver
from cycles_otel.degradation.policies import RAISE, Defer, Denial, Disable, Downgrade, Policy, Raise
from cycles_otel.errors import (
    CyclesConfigurationError,
    InvalidParameterError,
    InvalidParameterTypeError,
    StepDeniedError,
)

logger = logging.getLogger("cycles_otel")

_MENDED_BY_DISABLING = (caps.FORBIDDEN_TOOL, caps.LONG_COOLDOWN)


@dataclass(frozen=True)
class OnDenied:
    """What was given for the denials of one kind of step, checked.

    Parameters
    ----------
    parameter: its name, for errors.
    accepted: the classes of policies that make sense for this kind of step.
    given: one policy, a sequence of them, or a function from a ``Denial`` to either.
    """

    parameter: str
    accepted: tuple[type[Policy], ...]
    given: Any

    def __post_init__(self) -> None:
        if isinstance(self.given, type):
            raise InvalidParameterTypeError(self.parameter, self.given, self.what_is_accepted)
        # Looked at once here, so that what is not accepted is an error when it is given.
        _ = self.always

    @cached_property
    def always(self) -> tuple[Policy, ...]:
        """The policies that are known before any denial; none where a function chooses."""
        return () if callable(self.given) else self._checked(self.given)

    async def policies(self, denial: Denial) -> tuple[Policy, ...]:
        """The policies for one denied step, in their order."""
        if not callable(self.given):
            return self.always
        chosen = self.given(denial)
        if inspect.isawaitable(chosen):
            chosen = await chosen
        try:
            return self._checked(chosen)
        except InvalidParameterError as error:
            raise CyclesConfigurationError(f"The function {self.parameter} returned {chosen!r}: {error}") from error

    @property
    def what_is_accepted(self) -> str:
        """What may be given, in words."""
        names = ", ".join(f"{kind.__name__}(...)" for kind in self.accepted)
        return f"{names}, a list of these, or a function from a Denial to either"

    def _checked(self, value: object) -> tuple[Policy, ...]:
        if isinstance(value, self.accepted):
            return (value,)
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise InvalidParameterTypeError(self.parameter, value, self.what_is_accepted)
        if not value or not all(isinstance(each, self.accepted) for each in value):
            raise InvalidParameterError(self.parameter, value, self.what_is_accepted)
        return tuple(value)


class Answers:
    """The denials of one step, and what becomes of each.

    Parameters
    ----------
    missing: what must be added to the program before a policy can be carried out, in words; None if nothing.
    """

    def __init__(
        self,
        on_denied: OnDenied,
        missing: Callable[[Policy], str | None],
        *,
        agent: str,
        model: str | None = None,
        tool: str | None = None,
    ) -> None:
        self._on_denied = on_denied
        self._missing = missing
        self._names: dict[str, Any] = {"agent": agent, "model": model, "tool": tool}
        self._left: Iterator[Policy] | None = None
        self._last: StepDeniedError | None = None

    def check(self) -> None:
        """Raise ``CyclesConfigurationError`` for a policy of which it is known already that it could do nothing."""
        for policy in self._on_denied.always:
            self._check(policy)

    async def answer(self, error: StepDeniedError, life: ReservationObserver) -> Policy:
        """The policy for a denial, which is told to the ``life`` of the step; raises ``error`` when none is left.

        The life is over after that, but for a ``Defer``: the step is then asked for again.
        """
        reason = error.reason_code or ""
        policy: Policy = RAISE
        try:
            policy = await self._next(error)
        finally:
            model = policy.model_name if isinstance(policy, Downgrade) else None
            life.policy_applied(reason, policy.name, model=model)
            if not isinstance(policy, Defer):
                life.denied(reason)
        if isinstance(policy, Raise):
            raise error from self._last
        self._last = error
        return policy

    async def _next(self, error: StepDeniedError) -> Policy:
        if self._left is None:
            self._left = iter(await self._on_denied.policies(Denial(error, **self._names)))
        for policy in self._left:
            if _helps(policy, error.reason_code):
                self._check(policy, error)
                return policy
        return RAISE

    def _check(self, policy: Policy, error: StepDeniedError | None = None) -> None:
        if (missing := self._missing(policy)) is not None:
            raise CyclesConfigurationError(
                f"{type(policy).__name__} in {self._on_denied.parameter} {missing}"
            ) from error


def _helps(policy: Policy, reason: str | None) -> bool:
    """Whether a policy can change anything about a denial: what caps forbid, no other model and no waiting allows."""
    if isinstance(policy, Raise):
        return True
    if reason in _MENDED_BY_DISABLING:
        return isinstance(policy, Disable)
    return reason != caps.NO_STEPS_LEFT
