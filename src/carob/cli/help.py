"""The help of `carob` and of its verbs: made of the verbs' docstrings and flags. Colours only on a terminal."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TYPE_CHECKING

from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.cli.flags import Flag, Flags

WIDTH = 32
COMMON = "Common"


def bold(text: str) -> str:
    """`text`, bold where somebody looks."""
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb":
        return f"\x1b[1m{text}\x1b[0m"
    return text


def cleandoc(doc: str) -> str:
    """A docstring without the indent of its class."""
    first, _, rest = doc.strip().partition("\n")
    return first + "\n" + textwrap.dedent(rest)


def main_help(groups: Mapping[str, Mapping[str, tuple[str, str]]]) -> str:
    """Every verb, by its group."""
    lines = [
        f"{bold('carob')} runs Kubernetes Pods, the whole way, on this machine.",
        "",
        f"{bold('Usage:')} carob VERB [arguments]",
        "",
    ]
    for title, verbs in groups.items():
        lines.append(bold(f"{title}:"))
        lines += [f"  {verb:15} {line}" for verb, (_, line) in verbs.items()]
        lines.append("")
    lines += [
        bold("Begin with:"),
        "  carob doctor                      # what this machine lacks, if anything",
        "  carob up                          # a cluster, in about a second",
        "  carob run hello --image=busybox --restart=Never -it -- sh",
        "  carob get pods -A",
        "",
        "`carob VERB --help` shows a verb's flags with examples. Verbs that kubectl has take its flags and print what it",
        "prints, here and against any Kubernetes.",
    ]
    return "\n".join(lines)


def unknown_verb(command: str, word: str, verbs: Mapping[str, object]) -> CommandError:
    """With the verbs that may have been meant."""
    near = [v for v in verbs if _distance(word, v) <= 2 or v.startswith(word.lower())]
    hint = "\n\nDid you mean this?\n" + "\n".join(f"\t{v}" for v in near) if near else ""
    return CommandError(f'error: unknown command "{word}" for "{command}"{hint}')


def _distance(a: str, b: str) -> int:
    """Levenshtein's distance, without regard to case."""
    a, b = a.lower(), b.lower()
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]


def verb_help(flags: Flags, doc: str, verbs: Mapping[str, tuple[str, str]]) -> str:
    """What a verb does, how it is called, examples, every flag."""
    about, _, examples = cleandoc(doc).partition("\nExamples:\n")
    usage = "VERB [arguments]" if verbs and flags.usage == "[flags]" else flags.usage
    lines = [about.strip(), "", bold("Usage:"), f"  {flags.command} {usage}"]
    if verbs:
        lines += ["", bold("Verbs:"), *(f"  {verb:15} {line}" for verb, (_, line) in verbs.items())]
    if examples:
        lines += ["", bold("Examples:"), examples.rstrip()]
    sections: dict[str, list[Flag]] = {}
    for flag in flags.all.values():
        if flag.help:
            sections.setdefault(flag.section or "Flags", []).append(flag)
    for title, members in sections.items():
        lines += ["", bold(f"{title}:")]
        lines += [line for flag in members for line in _flag_lines(flag)]
    return "\n".join(lines)


def _flag_lines(flag: Flag) -> list[str]:
    short = f"-{flag.short}, " if flag.short else "    "
    value = f" {flag.meta}" if flag.meta and flag.bare is None else f"[={flag.meta}]" if flag.meta else ""
    head = f"  {short}--{flag.name}{value}"
    text = flag.help + _default(flag)
    if len(head) < WIDTH:
        return [f"{head:{WIDTH}}{text}"]
    return [head, " " * WIDTH + text]


def _default(flag: Flag) -> str:
    if "default" in flag.help or not flag.default:
        return ""
    if flag.kind == "duration":
        return f" (default: {flag.default:g}s)"
    return f" (default: {'true' if flag.default is True else flag.default})"
