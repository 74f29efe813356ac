"""The bracket around a run: its scope begins and ends with the SDK's run, whatever way that ends.

The SDK calls no hook when a model fails, a task is cancelled, a tool raises, a guardrail trips or a stream is left.
So ``AgentRunner.run`` and ``run_streamed`` are wrapped, once, and act only where the hooks are ours: a nested run
inherits those around it, beside whatever other hooks it has.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from typing import Any

import wrapt
from agents.lifecycle import RunHooksBase

from cycles_otel.budget import background
from cycles_otel.budget.observer import RunObserver
from cycles_otel.chain import HookChain
from cycles_otel.run import (
    ModelConfig,
    RunEnding,
    RunScope,
    current_scope,
    enter,
    governing_among,
    is_cancellation,
    leave,
    run_outcome,
)

logger = logging.getLogger("cycles_otel")


class Bracketing:
    """The wrapping of the SDK's runner; installed once, when the first hooks object is made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: bool | None = None

    def install(self) -> bool:
        """Wrap the runner if that is not done yet; False, with one warning, where this SDK cannot be wrapped."""
        with self._lock:
            if self._active is None:
                self._active = _wrap_runner()
            return self._active


BRACKETING = Bracketing()


def _wrap_runner() -> bool:
    try:
        wrapt.wrap_function_wrapper("agents.run", "AgentRunner.run", _run)
        wrapt.wrap_function_wrapper("agents.run", "AgentRunner.run_streamed", _run_streamed)
    except (ImportError, AttributeError):
        logger.warning(
            "This version of openai-agents has no AgentRunner.run to wrap: a run that ends without its hooks leaves "
            "its reservations to their TTL. Call release_pending() after a failure."
        )
        return False
    return True


async def _run(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope = _begin(args, kwargs)
    if scope is None:
        return await wrapped(*args, **kwargs)
    observer = scope.hooks.observer.run(scope.run_id, _agent_name(args, kwargs))
    token = enter(scope)
    ending = RunEnding()
    try:
        with observer.attached():
            result = await wrapped(*args, **kwargs)
        ending = RunEnding.with_result(result)
        return result
    except BaseException as raised:
        ending = RunEnding.with_error(raised)
        raise
    finally:
        leave(token)
        if isinstance(ending.error, GeneratorExit):
            _end_collected(scope, observer)
        else:
            scope.close(ending)
            try:
                # Who cancels does not wait: what is open settles in the background.
                if not is_cancellation(ending.error):
                    await scope.settled()
            finally:
                _end(scope, observer, ending)


def _run_streamed(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope = _begin(args, kwargs)
    if scope is None:
        return wrapped(*args, **kwargs)
    observer = scope.hooks.observer.run(scope.run_id, _agent_name(args, kwargs))
    token = enter(scope)
    try:
        with observer.attached():
            result = wrapped(*args, **kwargs)
    except BaseException as raised:
        _end(scope, observer, RunEnding.with_error(raised))
        raise
    finally:
        leave(token)
    collected = weakref.finalize(result.run_loop_task, _end_collected, scope, observer)
    collected.atexit = False

    def over(task: asyncio.Task[Any]) -> None:
        collected.detach()
        _end(scope, observer, RunEnding.with_result(result, _error_of(task)))

    # The stream is over when its loop is, whether anybody reads it or not; a callback cannot wait.
    result.run_loop_task.add_done_callback(over)
    return result


def _end(scope: RunScope, observer: RunObserver, ending: RunEnding) -> None:
    scope.close(ending)
    observer.ended(run_outcome(ending.error), scope.committed, len(scope.open_reservations()))


def _end_collected(scope: RunScope, observer: RunObserver) -> None:
    """End a run that never ended, since its event loop was closed under it: nothing refers to it any more.

    The collector runs on any thread, between any two instructions; so the work is left to the background loop.
    """
    background.shared().call(_end, scope, observer, RunEnding(asyncio.CancelledError()))


def _begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunScope | None:
    """The scope of a run whose hooks are ours, or that runs inside of one whose hooks are."""
    around, own = current_scope(), kwargs.get("hooks")
    hooks = governing_among(own)
    inherits = own is None or isinstance(own, RunHooksBase)
    if hooks is None and inherits and around is not None and not around.closed:
        hooks = around.hooks
        kwargs["hooks"] = hooks if own is None else HookChain(hooks, own)
    if hooks is None:
        return None
    given = args[1] if len(args) > 1 else kwargs.get("input")
    return RunScope(
        hooks,
        config=ModelConfig.of(kwargs.get("run_config")),
        answered_before=len(getattr(given, "_model_responses", ())),
    )


def _agent_name(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    agent = args[0] if args else kwargs.get("starting_agent")
    return str(getattr(agent, "name", "agent"))


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
