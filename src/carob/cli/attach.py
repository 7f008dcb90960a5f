"""Attach to a process that is already running inside an existing container.

Examples:
  carob attach hello-pod                       # its output, from now on
  carob attach hello-pod -c sync -i -t         # with its standard input, as a terminal
  carob attach deployment/web
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.exec import remote_command, wants_terminal
from carob.cli.failures import server_error
from carob.cli.pods import container_spec, find_container, pod_of

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags
    from carob.cli.pods import Tree

RECORDED = (
    "All commands and output from this session will be recorded in container logs, including credentials and sensitive "
    "information passed through the command prompt."
)
PROMPT = "If you don't see a command prompt, try pressing enter."


def add_flags(flags: Flags) -> None:
    """kubectl attach's flags."""
    flags.usage = "(POD | TYPE/NAME) [-c CONTAINER] [flags]"
    flags.text("container", "c", meta="NAME", help="which container (default: the annotated or the first one)")
    flags.duration("pod-running-timeout", default=60.0, help="how long to wait until a Pod runs")
    flags.switch("quiet", "q", help="only print what the process prints")
    flags.switch("stdin", "i", help="pass standard input to the process")
    flags.switch("tty", "t", help="standard input is a terminal")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """The process's exit code."""
    if not arguments.words:
        raise CommandError("error: at least 1 argument is required for attach")
    connection = connect(arguments)
    try:
        return _attach(connection, arguments)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _attach(connection: Connection, arguments: Arguments) -> int:
    words = arguments.words
    if len(words) > 2:
        raise CommandError(
            f"error: expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {len(words)}: [{' '.join(words)}]"
        )
    pod = pod_of(connection, "/".join(words), arguments.pod_running_timeout)
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise CommandError(f"error: cannot attach a container in a completed pod; current phase is {phase}")
    return attach_to(connection, pod, arguments)


def attach_to(connection: Connection, pod: Tree, arguments: Arguments) -> int:
    """Join this process's standard files to a container's process; its exit code."""
    container = find_container(pod, arguments.container, quiet=arguments.quiet)
    spec = container_spec(pod, container) or {}
    if arguments.tty and not spec.get("tty"):
        arguments.tty = False
        if not arguments.quiet:
            print(f"error: Unable to use a TTY - container {container} did not allocate one", file=sys.stderr)
    elif spec.get("tty"):
        # it has a terminal already, so this side must speak to one
        arguments.tty = True
    tty = wants_terminal(arguments)
    if not arguments.quiet:
        print(f"{RECORDED}\n{PROMPT}", file=sys.stderr)
    name = pod["metadata"]["name"]
    connection.close()
    code = remote_command(
        connection,
        f"/api/v1/namespaces/{connection.namespace}/pods/{name}/attach",
        {"container": container},
        stdin=arguments.stdin,
        tty=tty,
        attach=True,
    )
    if arguments.stdin and tty and not arguments.quiet:
        print(_how_to_resume(pod, container, connection.namespace))
    return code


def _how_to_resume(pod: Tree, container: str, namespace: str) -> str:
    command = f"carob attach {pod['metadata']['name']} -c {container} -n {namespace} -i -t"
    if any(c["name"] == container for c in pod["spec"].get("ephemeralContainers") or []):
        return (
            "Session ended, the ephemeral container will not be restarted but may be reattached using "
            f"'{command}' if it is still running"
        )
    return f"Session ended, resume using '{command}' command"
