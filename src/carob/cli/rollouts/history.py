"""`rollout history`. Source: kubectl pkg/cmd/rollout/rollout_history.go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.printers.objects import name_of
from carob.cli.results import ResultPrinter
from carob.cli.rollouts.chosen import add_rollout_flags, chosen
from carob.cli.rollouts.revisions import CHANGE_CAUSE, revisions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.flags import Arguments, Flags
    from carob.cli.rollouts.revisions import Kept

    Tree = dict[str, Any]

_NO_SUCH = "error: unable to find the specified revision"


class History:
    """View previous rollout revisions and configurations.

    Examples:
      carob rollout history deployment/web
      carob rollout history deployment/web --revision=3
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.number("revision", help="show this one, with its Pod template")
        add_rollout_flags(flags, field_manager=False)

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Show the history of each."""
        if arguments.revision < 0:
            raise CommandError(f"error: revision must be a positive integer: {arguments.revision}")
        arguments.dry_run = "none"
        connection = connect(arguments)
        try:
            printer = ResultPrinter(arguments)
            for target, tree in chosen(connection, arguments):
                kept = revisions(connection, target, tree)
                if printer.wants_object:
                    _print_objects(printer, tree, kept, arguments.revision)
                    continue
                text = _one(kept, arguments.revision) if arguments.revision else _table(kept)
                which = f"with revision #{arguments.revision}" if arguments.revision else ""
                print(f"{name_of(tree)} {which}")
                print(text)
            return 0
        except ApiError as error:
            raise server_error(error) from error
        finally:
            connection.close()


def _print_objects(printer: ResultPrinter, tree: Tree, kept: Sequence[Kept], number: int) -> None:
    """The ReplicaSets of a Deployment; of the others, the object as it was then."""
    wanted = [one for one in kept if not number or one.number == number]
    if number and not wanted:
        raise CommandError(_NO_SUCH)
    for one in wanted:
        then = one.tree
        if then["kind"] == "ControllerRevision":
            then = {**tree, "spec": {**tree["spec"], "template": one.template}}
        printer.show(then, "", typed=True)


def _table(kept: Sequence[Kept]) -> str:
    if not kept:
        return "No rollout history found."
    rows = [("REVISION", "CHANGE-CAUSE"), *((str(one.number), one.change_cause or "<none>") for one in kept)]
    width = max(len(row[0]) for row in rows) + 2
    return "\n".join(f"{number:{width}}{cause}" for number, cause in rows) + "\n"


def _one(kept: Sequence[Kept], number: int) -> str:
    from carob.cli.describers.workloads import pod_template
    from carob.cli.describers.writer import Writer

    one = next((one for one in kept if one.number == number), None)
    if one is None:
        raise CommandError(_NO_SUCH)
    template = dict(one.template)
    if one.change_cause:
        metadata = dict(template.get("metadata") or {})
        metadata["annotations"] = {**(metadata.get("annotations") or {}), CHANGE_CAUSE: one.change_cause}
        template["metadata"] = metadata
    writer = Writer()
    pod_template(writer, template)
    return writer.raw()
