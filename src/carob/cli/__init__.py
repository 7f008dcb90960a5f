"""The `carob` command: one file a verb, imported only when that verb is used, so that `carob get pods` starts fast.

A verb's module offers `add_arguments(parser)` and `run(arguments) -> int`; its docstring is its help. Verbs of
carob's own (up, down, status, doctor, image, server, node) speak carob's words; verbs that kubectl has speak
kubectl's: same flags, same output, same exit codes.

May import anything below. Errors that a user can cause are `CommandError`: one line on standard error, exit code 1.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

# verb -> (module, one line); the order is the help's order
GROUPS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "The cluster": {
        "up": ("up", "Start a cluster in the background, or find the one that runs"),
        "down": ("down", "Stop a cluster and remove every trace of it"),
        "status": ("status", "What runs here, with its memory and CPU"),
        "doctor": ("doctor", "What this machine lacks to run Pods, and how to get it"),
        "image": ("image", "Images on the node: ls, pull, load, build, rm"),
    },
    "The parts, in the foreground": {
        "server": ("server", "API server, scheduler and controllers"),
        "node": ("node", "A node: kubelet, runtime, network"),
    },
    "As kubectl": {
        "get": ("get", "Display one or many resources"),
        "describe": ("describe", "Show details of a specific resource or group of resources"),
        "apply": ("apply", "Apply a configuration to a resource by file name or stdin"),
        "delete": ("delete", "Delete resources by file names, stdin, resources and names, or label selector"),
        "logs": ("logs", "Print the logs for a container in a pod"),
        "exec": ("exec", "Execute a command in a container"),
        "wait": ("wait", "Wait for a specific condition on one or many resources"),
    },
}

COMMON_HELP = """usage: carob VERB [arguments]

Pods, the whole way, on this machine. `carob VERB --help` shows a verb's arguments and examples.
"""


def _help() -> str:
    lines = [COMMON_HELP]
    for title, verbs in GROUPS.items():
        lines.append(f"{title}:")
        lines += [f"  {verb:12} {line}" for verb, (_, line) in verbs.items()]
        lines.append("")
    lines.append("Begin with: carob up && carob get pods -A")
    return "\n".join(lines)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] in ("--version", "version", "-V"):
        from importlib.metadata import version

        print(f"carob {version('carob')}")
        return 0
    verbs = {verb: entry for group in GROUPS.values() for verb, entry in group.items()}
    entry = verbs.get(arguments[0])
    if entry is None:
        print(f'error: unknown command "{arguments[0]}" for "carob"\nSee `carob --help`.', file=sys.stderr)
        return 1
    return _run_verb(arguments[0], entry[0], arguments[1:])


def _run_verb(verb: str, module_name: str, arguments: Sequence[str]) -> int:
    import argparse
    import importlib

    module = importlib.import_module(f"carob.cli.{module_name}")
    parser = argparse.ArgumentParser(
        prog=f"carob {verb}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(arguments)))
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # the reader (head, less) has gone; that is its right
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130
