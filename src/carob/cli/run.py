"""Create and run a particular image in a pod.

Examples:
  carob run web --image=nginx
  carob run web --image=nginx --port=80 --env=LEVEL=debug --labels=app=web
  carob run -it shell --image=busybox --restart=Never --rm -- sh
  carob run web --image=nginx --dry-run=client -o yaml
  carob run job --image=busybox --restart=Never --command -- echo hello
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.apply import encode_last_applied, with_last_applied
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

POLICIES = ("Always", "OnFailure", "Never")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_IMAGE = re.compile(
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[a-fA-F0-9:]+\])(?::\d+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


def add_flags(flags: Flags) -> None:
    """kubectl run's flags."""
    flags.usage = "NAME --image=IMAGE [flags] [--command] -- [COMMAND] [args...]"
    flags.text("image", meta="IMAGE", help="the image of the container")
    flags.text("image-pull-policy", meta="POLICY", help="Always, IfNotPresent or Never")
    flags.text("restart", meta="POLICY", help="Always, OnFailure or Never (default: Always; with -i: OnFailure)")
    flags.texts("env", meta="NAME=VALUE", help="environment of the container; may be repeated")
    flags.text("port", meta="PORT", help="the port that the container serves")
    flags.text("labels", "l", meta="A=B,...", help="labels of the Pod (default: run=NAME)")
    flags.texts("annotations", meta="A=B", help="annotations of the Pod; may be repeated")
    flags.switch("command", help="what follows -- replaces the image's entry point, not its arguments")
    flags.switch("stdin", "i", help="keep standard input open, and attach")
    flags.switch("tty", "t", help="give the container a terminal")
    flags.switch("attach", help="attach once the Pod runs (default: with -i)")
    flags.switch("leave-stdin-open", help="standard input stays open after the first attach")
    flags.switch("rm", help="delete the Pod when the attached command ends")
    flags.switch("privileged", help="run the container privileged")
    flags.switch("expose", help="make a Service for --port, too")
    flags.switch("quiet", "q", help="no prompts")
    flags.switch("save-config")
    flags.text("overrides", meta="JSON", help="merged into the Pod")
    flags.text("override-type", default="merge", meta="TYPE", help="json, merge or strategic")
    flags.duration("pod-running-timeout", default=60.0, help="how long to wait until it runs")
    flags.text("field-manager", default="kubectl-run")
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Create, and attach when asked to."""
    _check(arguments)
    connection = connect(arguments)
    try:
        return Run(connection, arguments).run()
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _check(arguments: Arguments) -> None:
    """Raises: CommandError in kubectl's words."""
    if "image" not in arguments.changed:
        raise CommandError('error: required flag(s) "image" not set')
    if not arguments.words or arguments.dash == 0:
        raise CommandError("error: NAME is required for run")
    if not arguments.image:
        raise CommandError("error: --image is required")
    if not is_image_name(arguments.image):
        raise CommandError(f"error: invalid image name {json.dumps(arguments.image)}: invalid reference format")
    if arguments.tty and not arguments.stdin:
        raise CommandError("error: -i/--stdin is required for containers with -t/--tty=true")
    if arguments.expose and not arguments.port:
        raise CommandError("error: --port must be set when exposing a service")
    if arguments.restart not in ("", *POLICIES):
        raise CommandError(
            f"error: invalid restart policy: {arguments.restart}, valid values are: {', '.join(POLICIES)}"
        )
    if "attach" not in arguments.changed:
        arguments.attach = arguments.stdin
    if arguments.rm and not arguments.attach:
        raise CommandError("error: --rm should only be used for attached containers")
    if arguments.attach and arguments.dry_run != "none":
        raise CommandError(
            "error: --dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)"
        )
    if arguments.image_pull_policy not in ("", *PULL_POLICIES):
        raise CommandError(
            f"error: invalid image pull policy: {arguments.image_pull_policy}, valid values are: {', '.join(PULL_POLICIES)}"
        )


def is_image_name(text: str) -> bool:
    """Whether a registry could have such an image."""
    return _IMAGE.fullmatch(text) is not None


class Run:
    """One `run`."""

    def __init__(self, connection: Connection, arguments: Arguments) -> None:
        self._connection = connection
        self._arguments = arguments
        self._printer = ResultPrinter(arguments)
        self._name = arguments.words[0]
        self._restart = arguments.restart or ("OnFailure" if arguments.stdin else "Always")

    def run(self) -> int:
        """The exit code."""
        arguments = self._arguments
        pod = self._create("pods", self._override(self._pod()))
        made = [("pods", pod)]
        if arguments.expose:
            made.append(("services", self._create("services", self._service())))
        if arguments.attach:
            try:
                return self._attach(pod)
            finally:
                if arguments.rm:
                    self._remove(made)
        for _, tree in made:
            self._printer.show(tree, "created", typed=True)
        return 0

    def _pod(self) -> dict[str, Any]:
        arguments = self._arguments
        rest = arguments.words[1:]
        container: dict[str, Any] = {"name": self._name, "image": arguments.image, "resources": {}}
        if rest:
            container["command" if arguments.command else "args"] = rest
        if arguments.image_pull_policy:
            container["imagePullPolicy"] = arguments.image_pull_policy
        if arguments.stdin:
            container["stdin"] = True
            if not arguments.leave_stdin_open:
                container["stdinOnce"] = True
        if arguments.tty:
            container["tty"] = True
        if arguments.env:
            container["env"] = [_variable(text) for text in arguments.env]
        if arguments.port:
            if not arguments.port.isdigit():
                raise CommandError("error: --port must be a number")
            container["ports"] = [{"containerPort": int(arguments.port)}]
        if arguments.privileged:
            container["securityContext"] = {"privileged": True}
        metadata: dict[str, Any] = {"name": self._name, "labels": self._labels()}
        if arguments.annotations:
            metadata["annotations"] = dict(_pair(text, "annotation") for text in arguments.annotations)
        if self._printer.dry_run == "client" and "namespace" in arguments.changed:
            metadata["namespace"] = self._connection.namespace
        spec = {"containers": [container], "restartPolicy": self._restart, "dnsPolicy": "ClusterFirst"}
        return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {}}

    def _labels(self) -> dict[str, str]:
        text = self._arguments.labels
        if not text:
            return {"run": self._name}
        return dict(_pair(part, "label") for part in text.split(","))

    def _service(self) -> dict[str, Any]:
        port = int(self._arguments.port)
        metadata = {"name": self._name}
        if self._printer.dry_run == "client" and "namespace" in self._arguments.changed:
            metadata["namespace"] = self._connection.namespace
        return {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": metadata,
            "spec": {
                "ports": [{"protocol": "TCP", "port": port, "targetPort": port}],
                "selector": self._labels(),
            },
            "status": {"loadBalancer": {}},
        }

    def _override(self, pod: dict[str, Any]) -> dict[str, Any]:
        text = self._arguments.overrides
        if not text:
            return pod
        from carob.cli.patch import apply_locally, parse_patch

        return apply_locally(pod, parse_patch(text), self._arguments.override_type)

    def _create(self, plural: str, tree: dict[str, Any]) -> dict[str, Any]:
        if self._printer.dry_run == "client":
            return tree
        if self._arguments.save_config:
            tree = with_last_applied(tree, encode_last_applied(tree))
        query: dict[str, str | list[str]] = {"fieldManager": self._arguments.field_manager}
        if self._printer.dry_run == "server":
            query["dryRun"] = "All"
        namespace = self._connection.namespace
        made: dict[str, Any] = self._connection.json("POST", f"/api/v1/namespaces/{namespace}/{plural}", query, tree)
        return made

    # --- attaching

    def _attach(self, pod: dict[str, Any]) -> int:
        from carob.cli.attach import attach_to
        from carob.cli.pods import wait_for_pod

        arguments = self._arguments
        found = wait_for_pod(self._connection, self._name, _running_or_ended, arguments.pod_running_timeout)
        if found is None:
            raise CommandError("error: timed out waiting for the condition")
        if found["status"]["phase"] in ("Succeeded", "Failed"):
            self._logs()
        else:
            arguments.container = ""
            try:
                attach_to(self._connection, found, arguments)
            except (ApiError, CommandError) as error:
                if getattr(error, "exit_code", 1) == 1:
                    text = str(error).removeprefix("error: ")
                    print(
                        f"warning: couldn't attach to pod/{self._name}, falling back to streaming logs: {text}",
                        file=sys.stderr,
                    )
                    self._logs()
        if arguments.leave_stdin_open or self._restart == "Always":
            return 0
        return self._exit_code()

    def _logs(self) -> None:
        sys.stdout.flush()
        path = f"/api/v1/namespaces/{self._connection.namespace}/pods/{self._name}/log"
        sys.stdout.buffer.write(self._connection.request("GET", path, {"container": self._name}))
        sys.stdout.buffer.flush()

    def _exit_code(self) -> int:
        from carob.cli.pods import wait_for_pod

        wanted = ("Succeeded", "Failed") if self._restart == "Never" else ("Succeeded",)
        pod = wait_for_pod(
            self._connection,
            self._name,
            lambda p: (p.get("status") or {}).get("phase") in wanted,
            self._arguments.pod_running_timeout,
        )
        if pod is None:
            raise CommandError("error: timed out waiting for the condition")
        if pod["status"]["phase"] == "Succeeded":
            return 0
        where = f"pod {self._connection.namespace}/{self._name}"
        statuses = pod["status"].get("containerStatuses") or []
        ended = (statuses[0].get("state") or {}).get("terminated") if statuses else None
        code = (ended or {}).get("exitCode", 0)
        if not ended or not code:
            raise CommandError(f"error: {where} failed with unknown exit code")
        raise CommandError(
            f"{where} terminated ({ended.get('reason', '')})\n{ended.get('message', '')}".rstrip("\n"), code
        )

    def _remove(self, made: list[tuple[str, dict[str, Any]]]) -> None:
        for plural, tree in made:
            name = tree["metadata"]["name"]
            path = f"/api/v1/namespaces/{self._connection.namespace}/{plural}/{name}"
            try:
                self._connection.json("DELETE", path, body={"propagationPolicy": "Background"})
            except ApiError as error:
                if error.reason != "NotFound":
                    print(server_error(error), file=sys.stderr)
                continue
            if not self._arguments.quiet:
                print(f'{tree["kind"].lower()} "{name}" deleted from {self._connection.namespace} namespace')


def _variable(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CommandError(f"error: invalid env: {text}")
    return {"name": name, "value": value}


def _pair(text: str, what: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CommandError(f"error: unexpected {what} spec: {text}")
    return key, value


def _running_or_ended(pod: dict[str, Any]) -> bool:
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or [])
    return status.get("phase") == "Running" and ready
