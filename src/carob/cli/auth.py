"""Inspect authorization: who am I, and what may I do?

Examples:
  carob auth whoami
  carob auth can-i create pods
  carob auth can-i list secrets -n kube-system --as system:serviceaccount:default:builder
  carob auth can-i --list
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.printers.columns import Columns

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

VERBS = {
    "can-i": ("auth:CanI", "Check whether an action is allowed"),
    "whoami": ("auth:WhoAmI", "Check self subject attributes"),
}
GROUP = "authorization.k8s.io/v1"
TWO_ARGUMENTS = (
    "error: you must specify two arguments: verb resource or verb resource/resourceName.\n"
    "See 'carob auth can-i -h' for help and examples."
)


class CanI:
    """Check whether an action is allowed. Says yes or no; the exit code is 0 or 1.

    VERB is get, list, create, delete ...; TYPE a resource; what begins with a slash is a path.

    Examples:
      carob auth can-i create pods
      carob auth can-i get pods --subresource=log
      carob auth can-i get /healthz
      carob auth can-i --list -n kube-system
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "VERB (TYPE | TYPE/NAME | PATH) [flags]"
        flags.switch("all-namespaces", "A", help="in all namespaces")
        flags.text("subresource", meta="NAME", help="such as log, exec, status")
        flags.switch("list", help="everything that is allowed")
        flags.switch("no-headers", help="no header line")
        flags.switch("quiet", "q", help="say nothing; the exit code tells")
        add_connection_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        connection = connect(arguments)
        try:
            if arguments.list:
                return _list(connection, arguments)
            return _can_i(connection, arguments)
        except ApiError as error:
            raise server_error(error) from error
        finally:
            connection.close()


def _can_i(connection: Connection, arguments: Arguments) -> int:
    words = arguments.words
    if len(words) != 2:
        raise CommandError(TWO_ARGUMENTS)
    if not words[1].startswith("/"):
        spec = {"resourceAttributes": _attributes(connection, arguments)}
    else:
        if arguments.subresource:
            raise CommandError("error: --subresource can not be used with NonResourceURL")
        spec = {"nonResourceAttributes": {"verb": words[0], "path": words[1]}}
    body = {"kind": "SelfSubjectAccessReview", "apiVersion": GROUP, "metadata": {}, "spec": spec}
    answer = connection.json("POST", f"/apis/{GROUP}/selfsubjectaccessreviews", body=body)
    status = answer.get("status") or {}
    allowed = bool(status.get("allowed"))
    if not arguments.quiet:
        text = "yes" if allowed else "no"
        if status.get("reason") and not allowed:
            text += f" - {status['reason']}"
        if status.get("evaluationError"):
            text += f" - {status['evaluationError']}"
        print(text)
    return 0 if allowed else 1


def _attributes(connection: Connection, arguments: Arguments) -> dict[str, str]:
    from carob.cli.selection import Selection

    verb, word = arguments.words[0], arguments.words[1]
    kind, _, name = word.partition("/")
    attributes = {"verb": verb, "resource": kind}
    if not arguments.all_namespaces:
        attributes["namespace"] = connection.namespace
    if kind != "*":
        try:
            row = Selection(connection).resources(kind)[0]
            attributes |= {"resource": row.plural, "group": row.group}
            if not row.namespaced and not arguments.quiet:
                where = f"resource '{row.plural}' is not namespace scoped"
                group = f" in group '{row.group}'" if row.group else ""
                print(f"Warning: {where}{group}\n", file=sys.stderr)
            if not row.namespaced:
                attributes.pop("namespace", None)
        except CommandError:
            if not arguments.quiet:
                print(f"Warning: the server doesn't have a resource type '{kind}'\n", file=sys.stderr)
    if arguments.subresource:
        attributes["subresource"] = arguments.subresource
    if name:
        attributes["name"] = name
    return {k: v for k, v in attributes.items() if v}


def _list(connection: Connection, arguments: Arguments) -> int:
    from carob.cli.describers.rbac import compacted, rule_cells

    body = {
        "kind": "SelfSubjectRulesReview",
        "apiVersion": GROUP,
        "metadata": {},
        "spec": {"namespace": connection.namespace},
    }
    status = connection.json("POST", f"/apis/{GROUP}/selfsubjectrulesreviews", body=body).get("status") or {}
    rules = [*(status.get("resourceRules") or []), *(status.get("nonResourceRules") or [])]
    rows = [] if arguments.no_headers else [["Resources", "Non-Resource URLs", "Resource Names", "Verbs"]]
    rows += [rule_cells(rule) for rule in compacted(rules)]
    for line in Columns().lines(rows):
        print(line)
    return 0


class WhoAmI:
    """Who the server takes this user for.

    Examples:
      carob auth whoami
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.text("output", "o", meta="FORMAT", help="json, yaml, ...")
        add_connection_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        from carob.cli.printers.objects import ObjectPrinter

        printer = ObjectPrinter(arguments.output)
        connection = connect(arguments)
        body = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}}
        try:
            tree = connection.json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body)
        except ApiError as error:
            raise server_error(error) from error
        finally:
            connection.close()
        if printer.format:
            print(printer.text(tree, typed=True), end="")
            return 0
        for line in Columns().lines(_user_rows((tree.get("status") or {}).get("userInfo") or {})):
            print(line)
        return 0


def _user_rows(user: dict[str, Any]) -> list[list[str]]:
    rows = [["ATTRIBUTE", "VALUE"]]
    if user.get("username"):
        rows.append(["Username", user["username"]])
    if user.get("uid"):
        rows.append(["UID", user["uid"]])
    if user.get("groups"):
        rows.append(["Groups", f"[{' '.join(user['groups'])}]"])
    extra = user.get("extra") or {}
    rows += [[f"Extra: {key}", f"[{' '.join(extra[key])}]"] for key in sorted(extra)]
    return rows
