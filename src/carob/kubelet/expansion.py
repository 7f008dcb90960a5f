"""`$(VAR)` in env values, command and args. Pure.

Source: `third_party/forked/golang/expansion`: `$$` is a dollar sign, an unknown or unclosed reference stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """`text` with every `$(NAME)` replaced that `lookup` knows."""
    if "$" not in text:
        return text
    out: list[str] = []
    i = 0
    while i < len(text):
        if text[i] != "$" or i + 1 == len(text):
            out.append(text[i])
            i += 1
        elif text[i + 1] == "$":
            out.append("$")
            i += 2
        elif text[i + 1] == "(" and (end := text.find(")", i + 2)) >= 0:
            name = text[i + 2 : end]
            value = lookup(name)
            out.append(f"$({name})" if value is None else value)
            i = end + 1
        else:
            # `$x` and an unclosed `$(`: both characters stay
            out.append(text[i : i + 2])
            i += 2
    return "".join(out)


def expand_all(texts: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Command or args with the container's environment filled in."""
    return [expand(text, env.get) for text in texts]
