"""`python -m carob` and the `carob` command."""

from __future__ import annotations

import gc
import os
import sys

# these live long and end in order; everything that they started is over when they return
LONG_LIVED = ("server", "node")
# most of what we make is modules, bytes and Structs, which form no cycles: collect rarely
GC_THRESHOLDS = (50_000, 20, 100)


def main() -> int:
    """Run the command line; return the exit code, or end the process with it.

    A command that has printed its answer has nothing left to tidy: ending the interpreter in order would take 15 ms,
    a fifth of `carob get pods`.
    """
    # before the first import: a role's modules would be looked through a hundred times
    gc.set_threshold(*GC_THRESHOLDS)
    from carob.cli import run

    code = run(sys.argv[1:])
    if sys.argv[1:2] and sys.argv[1] in LONG_LIVED:
        return code
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # the reader has gone, or the stream is closed: nobody is left to tell
            continue
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
