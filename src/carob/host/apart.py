"""Blocking work in a thread that may change its namespaces, for whoever has no event loop (`threads` is for the others)."""

from __future__ import annotations

import threading
from collections.abc import Callable


def apart(work: Callable[[], None], name: str) -> None:
    """Do it in a thread of its own, which may change its namespaces and ends with it. What it raises is raised here."""
    failures: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=body, name=name)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
