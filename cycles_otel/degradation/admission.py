"""The way of a step to its budget: asked for, and where it is denied, asked for again as the policies have it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from cycles_otel.budget.decision import Ruling
from cycles_otel.budget.governor import Admission, Governor
from cycles_otel.budget.reservation import Admitted
from cycles_otel.budget.step import Step
from cycles_otel.degradation.answers import Answers
from cycles_otel.degradation.policies import Defer, Disable, Downgrade
from cycles_otel.refusal import denial, raise_unless_it_goes

Cheaper = Callable[[Downgrade], Step]


@dataclass(frozen=True)
class Decided:
    """A step that goes, or that is left out while its run goes on.

    Parameters
    ----------
    step: what goes in the end.
    admitted: what is to be settled after it, if anything is.
    downgrade: the policy by which it goes with another model, if it does.
    disable: the policy by which it is left out, if it is.
    """

    step: Step
    admitted: Admitted | None = None
    downgrade: Downgrade | None = None
    disable: Disable | None = None


async def admit(governor: Governor, step: Step, answers: Answers, cheaper: Cheaper | None = None) -> Decided:
    """Ask for budget until an answer, or a policy, decides what becomes of the step.

    ``cheaper`` makes the step of a downgrade, of an LLM call. Raises what stops the step.
    """
    downgrade = None
    admission = await governor.reserve(step)
    while admission.verdict.ruling is Ruling.DENIED:
        verdict = admission.verdict
        policy = await answers.answer(denial(step, verdict.reason, verdict.message, verdict), admission.observer)
        if isinstance(policy, Disable):
            return Decided(step, disable=policy)
        if isinstance(policy, Defer):
            admission = await _wait_for_budget(governor, step, admission, policy)
        elif isinstance(policy, Downgrade) and cheaper is not None:
            downgrade, step = policy, cheaper(policy)
            admission = await governor.reserve(step)
    raise_unless_it_goes(admission.verdict, step)
    return Decided(step, admission.admitted, downgrade)


async def _wait_for_budget(governor: Governor, step: Step, denied: Admission, policy: Defer) -> Admission:
    """Ask again after growing pauses, the last time when the time is over."""
    admission, pause = denied, policy.first_pause
    deadline = time.monotonic() + policy.timeout
    while admission.verdict.ruling is Ruling.DENIED and (left := deadline - time.monotonic()) > 0:
        await _sleep(min(pause, left), admission)
        pause = min(pause * 2, policy.longest_pause)
        admission = await governor.ask_again(step, admission)
    return admission


async def _sleep(pause: float, denied: Admission) -> None:
    try:
        await asyncio.sleep(pause)
    except BaseException:
        denied.observer.denied(denied.verdict.reason)
        raise
