"""The containers and Pods that `debug` makes: profiles, a container beside others, a copy of a Pod, a Pod on a node. Pure.

Source: kubectl pkg/cmd/debug (profiles.go, debug.go).
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from carob.cli.flags import Arguments

    Tree = dict[str, Any]

PROFILES = ("legacy", "general", "baseline", "restricted", "netadmin", "sysadmin")
_RESTRICTED: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "allowPrivilegeEscalation": False,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_IN_PODS: Mapping[str, Any] = {
    "general": {"capabilities": {"add": ["SYS_PTRACE"]}},
    "restricted": _RESTRICTED,
    "netadmin": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
    "sysadmin": {"privileged": True},
}
_ON_NODES: Mapping[str, Any] = {**_IN_PODS, "general": None}
_PROBES = ("liveness", "readiness", "startup")
HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")


def container(arguments: Arguments, name: str, words: Sequence[str]) -> Tree:
    """A new container as the flags describe it, before its profile."""
    made: Tree = {"name": name, "resources": {}, "terminationMessagePolicy": "File"}
    change(made, arguments, words)
    return made


def change(made: Tree, arguments: Arguments, words: Sequence[str]) -> None:
    """What the flags say of a container, new or not."""
    if words and arguments.arguments_only:
        made["args"] = list(words)
    elif words:
        made["command"] = list(words)
        made.pop("args", None)
    if arguments.image:
        made["image"] = arguments.image
    if arguments.image_pull_policy:
        made["imagePullPolicy"] = arguments.image_pull_policy
    given = pairs(arguments.env)
    if given:
        made["env"] = [*made.get("env", ()), *({"name": name, "value": value} for name, value in sorted(given.items()))]
    for flag in ("stdin", "tty"):
        if getattr(arguments, flag):
            made[flag] = True


def with_profile(made: Tree, profile: str, *, on_node: bool = False) -> Tree:
    """The container with what its profile allows or forbids it."""
    context = (_ON_NODES if on_node else _IN_PODS).get(profile)
    if not context:
        return made
    old = made.get("securityContext") or {}
    new = {**old, **json.loads(json.dumps(context))}
    added = (context.get("capabilities") or {}).get("add")
    if added:
        had = old.get("capabilities") or {}
        new["capabilities"] = {**had, "add": list(dict.fromkeys([*(had.get("add") or ()), *added]))}
    return {**made, "securityContext": new}


def node_pod(node: str, name: str, made: Tree, profile: str) -> Tree:
    """A Pod on a node, in its namespaces and with its files where the profile allows it."""
    spec: Tree = {
        "nodeName": node,
        "restartPolicy": "Never",
        "tolerations": [{"operator": "Exists"}],
        "containers": [with_profile(made, profile, on_node=True)],
    }
    if profile in ("legacy", "general", "netadmin", "sysadmin"):
        spec |= dict.fromkeys(HOST_NAMESPACES, True)
    if profile in ("legacy", "general", "sysadmin"):
        spec["volumes"] = [{"name": "host-root", "hostPath": {"path": "/"}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "host-root", "mountPath": "/host"}]
    labels = {"app.kubernetes.io/managed-by": "kubectl-debug"}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "labels": labels}, "spec": spec}


def copy_of(pod: Tree, arguments: Arguments, *, whole: bool) -> Tree:
    """The Pod under another name, without what the flags do not keep; `whole`: all of it but its node."""
    copy = json.loads(json.dumps(pod))
    metadata: Tree = {"name": arguments.copy_to}
    for kept, field in (
        (whole or arguments.keep_labels, "labels"),
        (whole or arguments.keep_annotations, "annotations"),
    ):
        if kept and field in copy["metadata"]:
            metadata[field] = copy["metadata"][field]
    spec = copy["spec"]
    spec.pop("ephemeralContainers", None)
    if not arguments.same_node:
        spec.pop("nodeName", None)
    if not (whole or arguments.keep_init_containers):
        spec.pop("initContainers", None)
    if (arguments.share_processes and not whole) or "share-processes" in arguments.changed:
        spec["shareProcessNamespace"] = arguments.share_processes
    images = pairs(arguments.set_image)
    for one in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        for probe in _PROBES:
            if not (whole or getattr(arguments, f"keep_{probe}")):
                one.pop(f"{probe}Probe", None)
        image = images.get(one["name"], images.get("*"))
        if image is not None:
            one["image"] = image
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}


def pairs(given: Sequence[str]) -> dict[str, str]:
    """`a=b` and `a=b,c=d`, as the library reads them. Shape: checked by the verb before."""
    found: dict[str, str] = {}
    for text in given:
        parts = text.split(",") if text.count("=") > 1 else [text]
        found.update(part.partition("=")[::2] for part in parts)
    return found
