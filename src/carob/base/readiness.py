"""How a background process and its starter tell each other how far they are: lines on inherited pipes, nobody polls.

The child says stages (`listening`, then `ready`) on one pipe. On another, if it was given one, it waits for its starter
to say that what it needs is there, while it does what needs nothing.
"""

from __future__ import annotations

import os

STAGES_FD_VARIABLE = "CAROB_STAGES_FD"
GO_FD_VARIABLE = "CAROB_GO_FD"

LISTENING = "listening"
READY = "ready"


def say(stage: str) -> None:
    """Tell whoever started this process how far it is; does nothing when nobody listens (any more)."""
    value = os.environ.get(STAGES_FD_VARIABLE, "")
    if not value:
        return
    try:
        os.write(int(value), stage.encode() + b"\n")
    except BrokenPipeError:
        stage = READY  # the starter has given up waiting: there is nobody to talk to
    if stage == READY:
        del os.environ[STAGES_FD_VARIABLE]
        os.close(int(value))


async def wait_go() -> None:
    """Return when the starter says go; at once when this process was started by hand."""
    value = os.environ.pop(GO_FD_VARIABLE, "")
    if not value:
        return
    # the starter reads this module too, and has no loop
    import asyncio

    fd = int(value)
    loop = asyncio.get_running_loop()
    go: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        if not go.done():
            go.set_result(None)

    loop.add_reader(fd, readable)
    try:
        await go
    finally:
        loop.remove_reader(fd)
        os.close(fd)
