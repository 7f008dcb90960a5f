"""What a container said last: its termination message file, or the end of its log. Blocking, reads files only.

Source: kubelet `kuberuntime_container.go` (getTerminationMessage); 4096 bytes, or 2048 bytes and 80 lines of the log.
"""

from __future__ import annotations

import os

LONGEST_MESSAGE = 4096
LONGEST_LOG_PART = 2048
LAST_LINES = 80
FALLBACK = "FallbackToLogsOnError"


def termination_message(path: str, policy: str, log_path: str, exit_code: int) -> str:
    """The message to show; empty when there is none."""
    message = _head(path)
    if not message and policy == FALLBACK and exit_code != 0:
        return _log_tail(log_path)
    return message


def _head(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.read(LONGEST_MESSAGE).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"Error on reading termination log {path}: {error}"


def _log_tail(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            # time stamps and tags take room of their own
            stream.seek(max(0, size - 4 * LONGEST_LOG_PART))
            lines = stream.read().split(b"\n")
    except OSError as error:
        return f"Error reading termination message from logs: {error}"
    if size > 4 * LONGEST_LOG_PART:
        lines = lines[1:]
    text = b""
    for line in [line for line in lines if line][-LAST_LINES:]:
        parts = line.split(b" ", 3)
        if len(parts) == 4:
            text += parts[3] + (b"" if parts[2] == b"P" else b"\n")
    return text[-LONGEST_LOG_PART:].decode("utf-8", "replace")
