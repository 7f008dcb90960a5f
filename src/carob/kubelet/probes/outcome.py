"""What one try of a probe came to."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """An error says that it could not be tried."""

    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
