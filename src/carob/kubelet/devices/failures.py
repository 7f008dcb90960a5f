"""What goes wrong with devices."""

from __future__ import annotations

from carob.runtime.types import RuntimeFailure


class PrepareFailure(RuntimeFailure):
    """A claim cannot be prepared (yet), or not be taken back."""


class DriverFailure(Exception):
    """The driver is not there, or refused; the words are its or upstream's."""
