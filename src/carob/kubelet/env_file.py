"""Files of environment variables that a container of the Pod has written: one variable a line, in single quotes.

What is between the quotes is the value as it stands, over several lines if need be, as a POSIX shell would have it.
Files are read without following links: a Pod must not learn what lies on its node.
Source: KEP-3721; kubelet `util/env/env_util.go`.
"""

from __future__ import annotations

import os
import stat

MOST_BYTES = 1 << 20


class EnvFileError(ValueError):
    """The file is not as such files are; the message says where."""


def value_of(text: str, key: str) -> str:
    """What `key` is set to in the file's text; empty when it is not there. Raises: EnvFileError."""
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        line = lines[number].lstrip(" \t")
        begun = number = number + 1
        if not line or line.startswith("#"):
            continue
        name, equals, rest = line.partition("=")
        if not equals or not name:
            raise EnvFileError(f"invalid environment variable format at line {begun}")
        if name != name.rstrip():
            raise EnvFileError(
                f"invalid environment variable format at line {begun}: whitespace before '=' is not allowed"
            )
        if not rest.startswith("'"):
            raise EnvFileError(
                f"invalid environment variable format at line {begun}: value must be enclosed in single quotes"
            )
        value, closed, behind = rest[1:].partition("'")
        while not closed:
            if number == len(lines):
                raise EnvFileError(f"unclosed single quote starting at line {begun}")
            more, closed, behind = lines[number].partition("'")
            value += "\n" + more
            number += 1
        if behind.strip(" \t\r") and not behind.lstrip(" \t").startswith("#"):
            raise EnvFileError(
                f"invalid environment variable format at line {number}: unexpected content after closing quote"
            )
        if name == key:
            return value
    return ""


def read(volume: str, path: str) -> str | None:
    """The text of a file of a volume; None if there is none. Raises: OSError, EnvFileError."""
    folder = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *folders, name = [part for part in path.split("/") if part not in ("", ".")]
        for part in folders:
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        # a pipe must not keep the kubelet waiting
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    finally:
        os.close(folder)
    with open(file, "rb") as stream:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise EnvFileError("no regular file")
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise EnvFileError("the file is too large")
    return content.decode("utf-8", "surrogateescape")
