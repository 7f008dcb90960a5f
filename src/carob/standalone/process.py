"""What every process of carob does the same: loop, log, signals, memory habits, exit code."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from typing import TYPE_CHECKING

from carob.base import log
from carob.base.clock import SystemClock
from carob.base.memory import stay_small

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = log.get_logger("process")


def run(main: Callable[[], Awaitable[None]], log_level: str) -> int:
    """Run `main` on an event loop until it returns or the process is told to end; the exit code."""
    import uvloop

    log.configure(log_level)
    # modules live as long as the process: not even the first collection need look at them
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_signal(main))
    except Exception as error:  # noqa: BLE001 - the process's last word
        return cannot_go_on(error)


def cannot_go_on(error: BaseException) -> int:
    """Say why the process ends, a line for people at last; the exit code.

    What the machine or its user can cause (a full disk, a taken port, a missing tool) needs no trace of our calls.
    """
    from carob.runtime.types import RuntimeFailure
    from carob.standalone.joining import JoinFailure
    from carob.store.types import StoreError

    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, (OSError, StoreError, RuntimeFailure, JoinFailure)):
        _log.debug("cannot go on", exc_info=error)
    else:
        _log.error("cannot go on", exc_info=error)
    print(f"error: {_said(error)}", file=sys.stderr)
    return 1


def _said(error: BaseException) -> str:
    """Without the number that Python puts in front of the system's words."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.strerror}: {error.filename}" if error.filename else error.strerror


async def _until_signal(main: Callable[[], Awaitable[None]]) -> int:
    async def body() -> None:
        await main()

    task = asyncio.get_running_loop().create_task(body(), name="main")
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    memory = asyncio.get_running_loop().create_task(stay_small(SystemClock()), name="memory")
    try:
        await task
    except asyncio.CancelledError:
        return 0
    finally:
        memory.cancel()
    return 0


def settle_memory() -> None:
    """Call once when a process has started and said so: what exists now is never looked at by the collector again."""
    gc.collect()
    gc.freeze()
