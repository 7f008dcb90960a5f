"""The one error of the command line."""

from __future__ import annotations


class CommandError(Exception):
    """What the user did cannot be done; the text is the whole explanation, and says what to do next."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
