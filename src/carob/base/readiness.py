"""How a background process tells its starter that it is of use: one line on an inherited pipe, so that nobody polls."""

from __future__ import annotations

import os

READY_FD_VARIABLE = "CAROB_READY_FD"


def say_ready() -> None:
    """Tell whoever started this process that it is of use; does nothing when nobody waits, or when said before."""
    value = os.environ.pop(READY_FD_VARIABLE, "")
    if not value:
        return
    fd = int(value)
    try:
        os.write(fd, b"ready\n")
    except BrokenPipeError:
        return  # the starter has given up waiting
    finally:
        os.close(fd)
