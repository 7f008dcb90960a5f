"""What one try of a probe came to."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """An error says that it could not be tried; a warning is a success that people should hear of."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    ERROR = "error"
