"""One line an event on standard error: time, level, part, message, then `key=value` pairs.

The root logger is configured once by the process that starts (`configure`); parts ask for `get_logger("kubelet")`.
"""

from __future__ import annotations

import logging
import sys
import time

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = f"{stamp}.{int(record.msecs):03d}Z {record.levelname.lower():7} {record.name.removeprefix('carob.')}: "
        line += record.getMessage()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(level: str = "info") -> None:
    """Send everything of `level` and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])


def get_logger(part: str) -> logging.Logger:
    """The logger of one part of carob."""
    return logging.getLogger("carob." + part)


def pairs(**fields: object) -> str:
    """`a=1 b="two words"`: the tail of a log line."""
    out = []
    for key, value in fields.items():
        text = str(value)
        out.append(f'{key}="{text}"' if " " in text or not text else f"{key}={text}")
    return " ".join(out)
