"""Execute a command in a container.

Examples:
  carob exec hello-pod -- ps aux                 # in the first container
  carob exec hello-pod -c sync -- date
  carob exec -it hello-pod -- sh                 # a terminal: keys, sizes and the exit code pass through
  carob exec -i hello-pod -- tar xf - < files.tar
  carob exec deploy/web -- env
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.cli import terminal
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.pods import find_container, pod_of

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kubectl exec's flags."""
    flags.usage = "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]"
    flags.text("container", "c", meta="NAME", help="which container (default: the annotated or the first one)")
    flags.csv("filename", "f", meta="FILE", help="the Pod that the file names")
    flags.duration("pod-running-timeout", default=60.0, help="how long to wait until a Pod runs")
    flags.switch("quiet", "q", help="only print what the command prints")
    flags.switch("stdin", "i", help="pass standard input to the command")
    flags.switch("tty", "t", help="standard input is a terminal")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """The command's exit code."""
    words, dash = arguments.words, arguments.dash
    if len(words) > 1 and dash > 1 - len(arguments.filename):
        raise _unsupported()
    if not arguments.filename and (not words or dash == 0):
        raise CommandError("error: pod, type/name or --filename must be specified")
    if dash == -1 and (len(words) > 1 or (words and arguments.filename)):
        raise _unsupported()
    command = words[dash:] if dash >= 0 else []
    if not command:
        raise CommandError("error: you must specify at least one command for the container")
    connection = connect(arguments)
    try:
        return _exec(connection, arguments, command)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _unsupported() -> CommandError:
    return CommandError(
        "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\n"
        "See 'carob exec -h' for help and examples"
    )


def _exec(connection: Connection, arguments: Arguments, command: list[str]) -> int:
    if arguments.filename:
        from carob.cli.manifests import read_manifests
        from carob.cli.selection import Selection

        manifests = read_manifests(arguments.filename, Selection(connection))
        if len(manifests) > 1:
            raise CommandError("error: cannot exec into multiple objects at a time")
        manifest = manifests[0]
        word = f"{manifest.resource.plural}/{manifest.name}"
        connection.namespace = manifest.namespace(connection.namespace)
    else:
        word = arguments.words[0]
    pod = pod_of(connection, word, arguments.pod_running_timeout)
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise CommandError(f"error: cannot exec into a container in a completed pod; current phase is {phase}")
    container = find_container(pod, arguments.container, quiet=arguments.quiet)
    connection.close()
    return remote_command(
        connection,
        f"/api/v1/namespaces/{connection.namespace}/pods/{pod['metadata']['name']}/exec",
        {"command": command, "container": container},
        stdin=arguments.stdin,
        tty=wants_terminal(arguments),
    )


def wants_terminal(arguments: Arguments) -> bool:
    """Whether -t can be had; says so on standard error when not."""
    if not arguments.tty or not arguments.stdin:
        return False
    if terminal.is_terminal(0):
        return True
    if not arguments.quiet:
        print("Unable to use a TTY - input is not a terminal or the right kind of file", file=sys.stderr)
    return False


def remote_command(
    connection: Connection,
    path: str,
    query: dict[str, str | list[str]],
    *,
    stdin: bool,
    tty: bool,
    attach: bool = False,
) -> int:
    """Join this process's standard files to a command; its exit code. Raises: ApiError, CommandError."""
    from carob.cli.remote import PROTOCOL, Pump, exit_with
    from carob.cli.upgrade import upgrade

    if not tty:
        query["stderr"] = "true"
    if stdin:
        query["stdin"] = "true"
    query["stdout"] = "true"
    if tty:
        query["tty"] = "true"
    sock, early = upgrade(connection, path, query, PROTOCOL)
    sys.stdout.flush()
    now = terminal.size(1) if tty else None
    # a size that differs makes programs that run already draw themselves anew
    first = ((now[0] + 1, now[1] + 1),) if attach and now is not None else ()
    pump = Pump(
        sock,
        early,
        stdin=0 if stdin else None,
        stdout=1,
        stderr=None if tty else 2,
        size=(lambda: terminal.size(1)) if tty else None,
        first_sizes=first,
    )
    with terminal.raw(0) if tty else nullcontext():
        status = pump.run()
    return exit_with(status)
