"""Say of every node why a Pod may go there or not: each filter's verdict, each score, what would have to change.

The scheduler at work is asked; of a Pod that has a node it says what it would do if the Pod had none. Where the API server
has no answer (another Kubernetes, or a server whose scheduler rests), the decision is made here, from what the API says.
The exit code is 0 when there is a node for it, 1 when there is none.

Examples:
  carob explain-scheduling web
  carob explain-scheduling web -n shop -o json
  carob explain-scheduling web --profile packer
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.printers.columns import Columns

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

_USAGE = "error: USAGE: explain-scheduling POD\nSee 'carob explain-scheduling -h' for help and examples"


def add_flags(flags: Flags) -> None:
    """`-o json`, beside those that every verb has."""
    flags.usage = "POD [flags]"
    flags.text("profile", meta="NAME", help="as the profile of this name would judge, not the Pod's own")
    flags.text("output", "o", meta="FORMAT", help="json, or nothing for a table")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Decide, and print all of it."""
    if len(arguments.words) != 1:
        raise CommandError(_USAGE)
    if arguments.output not in ("", "json"):
        raise CommandError(f'error: unable to match a printer suitable for the output format "{arguments.output}"')
    name = arguments.words[0].removeprefix("pod/").removeprefix("pods/")
    connection = connect(arguments)
    try:
        found = _asked(connection, name, arguments.profile)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
    if arguments.output == "json":
        print(json.dumps(found, indent=4))
    else:
        _print(found)
    return 0 if found["chosen"] else 1


def _asked(connection: Connection, name: str, profile: str) -> dict[str, Any]:
    """What the scheduler says, or what it would say."""
    path = f"/api/v1/namespaces/{connection.namespace}/pods/{name}/scheduling"
    try:
        found: dict[str, Any] = connection.json("GET", path, {"profile": profile} if profile else {})
    except ApiError as error:
        if error.code not in (403, 404, 503) or profile:
            raise
    else:
        return found
    from carob.cli.scheduling_world import world_of
    from carob.scheduler.report import report, tree_of

    pod, snapshot, placed = world_of(connection, name)
    return tree_of(pod, placed, pod.view.spec.scheduler_name, report(pod, snapshot))


def _print(found: dict[str, Any]) -> None:
    placed = found["node"]
    print(f"Pod {found['pod']}: {f'is on {placed}' if placed else 'has no node'}")
    if found["gates"]:
        print(f"  it waits for its scheduling gates: {', '.join(found['gates'])}")
    fitting = [node for node in found["nodes"] if not node["rejections"]]
    rejected = [node for node in found["nodes"] if node["rejections"]]
    if found["rank"]:
        print(f"  if it had no node, {placed} would be number {found['rank']} of {len(fitting)} that fit")
    if found["chosen"]:
        print(f"  it would go to {found['chosen']} now")
    else:
        print(f"  it would go nowhere now: {found['message']}")
        if found["preempts"]:
            print(f"  it would get {found['nominated']} when these go: {', '.join(found['preempts'])}")
    print(f"  judged by {found['schedulerName']}: {', '.join(found['filters']) or 'no filter'}")
    if found["idle"]:
        print(f"  which ask nothing of it: {', '.join(found['idle'])}")
    if fitting:
        print("\nNodes that fit, with their weighted scores:")
        names = sorted({name for node in fitting for name in node["scores"]})
        rows = [["NODE", "TOTAL", *names]]
        for node in fitting:
            rows.append([node["node"], str(node["total"]), *(str(node["scores"].get(name, "-")) for name in names)])
        for line in Columns().lines(rows):
            print(f"  {line.rstrip()}")
    if rejected:
        print("\nNodes that do not:")
        for node in rejected:
            print(f"  {node['node']}")
            for name, reasons in node["rejections"].items():
                print(f"    {name}: {', '.join(reasons)}")
            for hint in node["hints"]:
                print(f"      {hint}")
