"""Running a network plugin: an executable that is asked by its environment and standard input, and answers on its output.

The child runs in the network namespace of the thread that made the `PluginRunner`, whichever thread asks.
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_SECONDS = 60.0
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Answer(NamedTuple):
    """How a plugin ended. `code` 0: well."""

    code: int
    output: str
    errors: str


class PluginRunner:
    """Make it in the node's network namespace; `close` it in the end."""

    def __init__(self) -> None:
        # a thread stays in the namespace of the one that started it
        self._thread = ThreadPoolExecutor(4, "carob-cni")
        for _ in range(4):
            self._thread.submit(int)

    def run(self, program: str, environment: Mapping[str, str], text: str) -> Answer:
        """Blocking. Raises: OSError when there is no such program; TimeoutError."""
        return self._thread.submit(self._run, program, environment, text).result()

    @staticmethod
    def _run(program: str, environment: Mapping[str, str], text: str) -> Answer:
        with subprocess.Popen(
            [program],
            env={"PATH": os.environ.get("PATH", DEFAULT_PATH), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            try:
                output, errors = child.communicate(text, LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()
                raise TimeoutError(f"{program} does not end") from None
        return Answer(child.returncode, output, errors)

    def close(self) -> None:
        """Let the threads go."""
        self._thread.shutdown()
