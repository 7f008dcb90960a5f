"""Create debugging sessions for troubleshooting workloads and nodes.

Examples:
  carob debug web -it --image=busybox --target=web       # beside a running container, in its process namespace
  carob debug web -it --image=busybox --copy-to=web-debug
  carob debug web --copy-to=web-debug --set-image='*=busybox'
  carob debug node/node-0 -it --image=busybox            # the node's files are in /host
"""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli import debug_specs
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.pods import container_names, container_spec, get_pod, wait_for_pod
from carob.cli.run import PULL_POLICIES, is_image_name

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

    Tree = dict[str, Any]

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_LONG_SECONDS = 86400.0
_ONLY_COPIES = ("replace", "same-node", "set-image")


def add_flags(flags: Flags) -> None:
    """kubectl debug's flags."""
    flags.usage = "(POD | TYPE[[.VERSION].GROUP]/NAME) [flags] [-- COMMAND [args...]]"
    flags.text("image", meta="IMAGE", help="the image of the debug container")
    flags.text("container", "c", meta="NAME", help="the name of the debug container")
    flags.text("target", meta="NAME", help="see the processes of this container")
    flags.text("profile", default="general", meta="NAME", help="general, baseline, restricted, netadmin or sysadmin")
    flags.text("custom", meta="FILE", help="part of a container spec, merged over the profile")
    flags.text("copy-to", meta="NAME", help="debug a copy of the Pod that has this name")
    flags.switch("replace", help="with --copy-to: delete the original Pod")
    flags.switch("same-node", help="with --copy-to: on the original's node")
    flags.texts("set-image", meta="NAME=IMAGE", help="with --copy-to: other images for its containers")
    flags.switch("share-processes", default=True, help="with --copy-to: its containers see each other's processes")
    for what in ("labels", "annotations", "liveness", "readiness", "startup"):
        flags.switch(f"keep-{what}", help=f"with --copy-to: keep the original's {what}")
    flags.switch("keep-init-containers", default=True, help="with --copy-to: run its init containers")
    flags.texts("env", meta="NAME=VALUE", help="environment of the container; may be repeated")
    flags.text("image-pull-policy", meta="POLICY", help="Always, IfNotPresent or Never")
    flags.switch("arguments-only", help="what follows -- replaces the image's arguments, not its entry point")
    flags.switch("attach", help="attach once it runs (default: with -i)")
    flags.switch("stdin", "i", help="keep standard input open, and attach")
    flags.switch("tty", "t", help="give the container a terminal")
    flags.switch("quiet", "q", help="no prompts")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """The exit code of what was attached to."""
    split = len(arguments.words) if arguments.dash < 0 else arguments.dash
    targets, words = arguments.words[:split], arguments.words[split:]
    _check(arguments, targets, words)
    connection = connect(arguments)
    try:
        code = 0
        for target in targets:
            code = Debug(connection, arguments, words).run(target) or code
        return code
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _check(arguments: Arguments, targets: list[str], words: list[str]) -> None:
    """Raises: CommandError in kubectl's words."""
    for flag in ("env", "set-image"):
        for text in getattr(arguments, flag.replace("-", "_")):
            if "=" not in text:
                raise CommandError(
                    f'error: invalid argument "{text}" for "--{flag}" flag: {text} must be formatted as key=value\n'
                    "See 'carob debug --help' for usage."
                )
    if not arguments.copy_to:
        if not arguments.image:
            raise CommandError("error: you must specify --image when not using --copy-to.")
        for flag in _ONLY_COPIES:
            if flag in arguments.changed:
                raise CommandError(f"error: --{flag} may only be used with --copy-to.")
    elif not arguments.image and not arguments.set_image and not words:
        raise CommandError("error: you must specify --image, --set-image or command arguments.")
    elif arguments.target:
        raise CommandError("error: --target is incompatible with --copy-to. Use --share-processes instead.")
    if not targets:
        raise CommandError("error: NAME or TYPE/NAME is required for debug")
    if arguments.image and not is_image_name(arguments.image):
        raise CommandError(f"error: invalid image name {json.dumps(arguments.image)}: invalid reference format")
    if arguments.image_pull_policy not in ("", *PULL_POLICIES):
        raise CommandError(f"error: invalid image pull policy: {arguments.image_pull_policy}")
    if arguments.tty and not arguments.stdin:
        raise CommandError("error: -i/--stdin is required for containers with -t/--tty=true")
    if arguments.profile not in debug_specs.PROFILES:
        raise CommandError(f"error: unknown profile: {arguments.profile}")
    if arguments.profile == "legacy":
        print(
            "--profile=legacy is deprecated and planned to be removed in v1.39. It is recommended to specify other "
            'profile, for example "--profile=general".',
            file=sys.stderr,
        )
    if "attach" not in arguments.changed:
        arguments.attach = arguments.stdin


class Debug:
    """One `debug`."""

    def __init__(self, connection: Connection, arguments: Arguments, words: list[str]) -> None:
        self._connection = connection
        self._arguments = arguments
        self._words = words
        self._pods = f"/api/v1/namespaces/{connection.namespace}/pods"

    def run(self, target: str) -> int:
        """Make what is asked for, and attach when asked to; the exit code."""
        from carob.cli.selection import Selection

        arguments = self._arguments
        selected = Selection(self._connection).parse([target if "/" in target else f"pods/{target}"])[0]
        row = selected.resource
        name = str(selected.name)
        if row.kind == "Node" and not row.group:
            pod, container = self._on_node(name)
        elif row.kind == "Pod" and not row.group:
            pod = get_pod(self._connection, name)
            pod, container = self._copied(pod) if arguments.copy_to else self._beside(pod)
        else:
            self._connection.json("GET", row.path(self._connection.namespace if row.namespaced else None, name))
            raise CommandError(f'error: "{row.group}/{row.version}, Kind={row.kind}" not supported by debug')
        if not arguments.attach or not container:
            return 0
        return self._attach(pod["metadata"]["name"], container)

    def _say(self, text: str) -> None:
        if not self._arguments.quiet:
            print(text, flush=True)

    def _name_for(self, pod: Tree) -> str:
        """The new container's name."""
        if self._arguments.container:
            return str(self._arguments.container)
        taken = set(container_names(pod))
        name = f"debugger-{_suffix()}"
        while name in taken:
            name = f"debugger-{_suffix()}"
        self._say(f"Defaulting debug container name to {name}.")
        return name

    def _beside(self, pod: Tree) -> tuple[Tree, str]:
        """An ephemeral container in the running Pod."""
        arguments = self._arguments
        name = self._name_for(pod)
        made = self._custom(
            debug_specs.with_profile(debug_specs.container(arguments, name, self._words), arguments.profile)
        )
        if arguments.target:
            made["targetContainerName"] = arguments.target
            self._say(
                f'Targeting container "{arguments.target}". If you don\'t see processes from this container it may be '
                "because the container runtime doesn't support this feature."
            )
        path = f"{self._pods}/{pod['metadata']['name']}/ephemeralcontainers"
        patch = {"spec": {"ephemeralContainers": [made]}}
        content_type = "application/strategic-merge-patch+json"
        return self._connection.json("PATCH", path, {}, patch, content_type=content_type), name

    def _copied(self, pod: Tree) -> tuple[Tree, str]:
        """A copy of the Pod with a changed or a new container."""
        arguments = self._arguments
        # other images alone are no debug container, and then nothing else changes
        whole = not (arguments.image or self._words or arguments.container)
        copy = debug_specs.copy_of(pod, arguments, whole=whole)
        name = ""
        if not whole:
            name = self._name_for(copy)
            present = container_spec(copy, name)
            if present is not None:
                debug_specs.change(present, arguments, self._words)
                present.update(debug_specs.with_profile(present, arguments.profile))
            elif not arguments.image:
                raise CommandError("error: you must specify image when creating new container")
            else:
                made = debug_specs.with_profile(debug_specs.container(arguments, name, self._words), arguments.profile)
                copy["spec"]["containers"].append(self._custom(made))
        made_pod = self._connection.json("POST", self._pods, {}, copy)
        if arguments.replace:
            path = f"{self._pods}/{pod['metadata']['name']}"
            self._connection.json("DELETE", path, body={"gracePeriodSeconds": 0})
        return made_pod, name

    def _on_node(self, node: str) -> tuple[Tree, str]:
        """A Pod on the node."""
        arguments = self._arguments
        self._connection.json("GET", f"/api/v1/nodes/{node}")
        name, container = f"node-debugger-{node}-{_suffix()}", arguments.container or "debugger"
        self._say(f"Creating debugging pod {name} with container {container} on node {node}.")
        made = debug_specs.container(arguments, container, self._words)
        pod = debug_specs.node_pod(node, name, made, arguments.profile)
        pod["spec"]["containers"] = [self._custom(pod["spec"]["containers"][0])]
        return self._connection.json("POST", self._pods, {}, pod), container

    def _custom(self, made: Tree) -> Tree:
        """The container with the user's own part of a spec merged in."""
        path = self._arguments.custom
        if not path:
            return made
        from carob.cli.patch import apply_locally, parse_patch

        try:
            with open(path, encoding="utf-8") as stream:
                custom = parse_patch(stream.read())
        except OSError as error:
            raise CommandError(f"error: must pass a valid partial container spec: {error}") from error
        pod = {"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [made]}}
        patch = {"spec": {"containers": [{**custom, "name": made["name"]}]}}
        merged: Tree = apply_locally(pod, patch, "strategic")["spec"]["containers"][0]
        return merged

    def _attach(self, pod_name: str, container: str) -> int:
        """Join the container once it runs; show its log when it has ended before."""
        from carob.cli.attach import attach_to

        arguments = self._arguments
        pod = wait_for_pod(
            self._connection, pod_name, lambda found: _state(found, container) != "waiting", _LONG_SECONDS
        )
        if pod is None:
            raise CommandError("error: timed out waiting for the condition")
        if _state(pod, container) == "terminated":
            return self._logs(pod_name, container)
        arguments.container = container
        try:
            return attach_to(self._connection, pod, arguments)
        except (ApiError, CommandError) as error:
            if getattr(error, "exit_code", 1) != 1:
                raise
            text = str(error).removeprefix("error: ")
            print(
                f"warning: couldn't attach to pod/{pod_name}, falling back to streaming logs: {text}", file=sys.stderr
            )
            return self._logs(pod_name, container)

    def _logs(self, pod_name: str, container: str) -> int:
        sys.stdout.flush()
        sys.stdout.buffer.write(
            self._connection.request("GET", f"{self._pods}/{pod_name}/log", {"container": container})
        )
        sys.stdout.buffer.flush()
        return 0


def _suffix() -> str:
    return "".join(random.choice(_LETTERS) for _ in range(5))


def _state(pod: Tree, container: str) -> str:
    """`running`, `terminated` or `waiting`."""
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(field) or []:
            if entry["name"] == container:
                return next((s for s in ("running", "terminated") if (entry.get("state") or {}).get(s)), "waiting")
    return "waiting"
