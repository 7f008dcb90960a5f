"""The `carob` command: one file a verb, imported only when that verb is used, so that `carob get pods` starts fast.

A verb's module offers `add_flags(flags)` and `run(arguments) -> int`; its docstring is its help, with the examples
behind a line `Examples:`. A verb with verbs of its own (`create configmap`) offers `VERBS`, a table as the one below.
Verbs of carob's own (up, down, status, doctor, image, server, node) speak carob's words; verbs that kubectl has speak
kubectl's: same flags, same output, same exit codes.

May import anything below. Errors that a user can cause are `CommandError`: its text on standard error, exit code 1.
"""

from __future__ import annotations

import sys

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# verb -> (module, one line); the order is the help's order
GROUPS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "The cluster": {
        "up": ("up", "Start a cluster in the background, or find the one that runs"),
        "down": ("down", "Stop a cluster and remove every trace of it"),
        "status": ("status", "What runs here, with its memory and CPU"),
        "doctor": ("doctor", "What this machine lacks to run Pods, and how to get it"),
        "snapshot": ("snapshot", "The cluster's state as a file: save, restore, reset"),
        "image": ("image", "Images on the node: ls, pull, load, build, rm"),
        "token": ("token", "Tokens by which nodes of other machines join: create, list, delete"),
    },
    "The parts, in the foreground": {
        "server": ("server", "API server, scheduler and controllers"),
        "node": ("node", "A node: kubelet, runtime, network; add, stop, start, cut, rm"),
    },
    "Look": {
        "get": ("get", "Display one or many resources"),
        "describe": ("describe", "Show details of a specific resource or group of resources"),
        "logs": ("logs", "Print the logs for a container in a pod"),
        "events": ("events", "List events"),
        "top": ("top", "Display resource (CPU/memory) usage of nodes or pods"),
        "wait": ("wait", "Wait for a specific condition on one or many resources"),
        "explain-flow": ("explain_flow", "Say whether one Pod may speak to another, and which policy decides"),
        "explain-scheduling": ("explain_scheduling", "Say of every node why a Pod may go there or not, and its scores"),
        "explain": ("explain", "Get documentation for a resource"),
        "api-resources": ("api_resources", "Print the supported API resources on the server"),
        "api-versions": ("api_versions", 'Print the supported API versions, in the form of "group/version"'),
        "auth": ("auth", "Inspect authorization: can-i, whoami"),
        "cluster-info": ("cluster_info", "Display addresses of the control plane and services"),
        "version": ("version", "Print the client and server version information"),
        "config": ("config", "Modify kubeconfig files: contexts, clusters, users"),
    },
    "Change": {
        "run": ("run", "Run a particular image on the cluster"),
        "create": ("create", "Create a resource from a file, from stdin, or from flags"),
        "diff": ("diff", "Diff the live version against a would-be applied version"),
        "replace": ("replace", "Replace a resource by file name or stdin"),
        "apply": ("apply", "Apply a configuration to a resource by file name or stdin"),
        "edit": ("edit", "Edit a resource on the server"),
        "patch": ("patch", "Update fields of a resource"),
        "label": ("label", "Update the labels on a resource"),
        "annotate": ("annotate", "Update the annotations on a resource"),
        "set": ("set", "Set specific features on objects: image"),
        "rollout": ("rollout", "Manage the rollout of a resource: status, history, undo, pause, resume, restart"),
        "scale": ("scale", "Set a new size for a deployment, replica set, or replication controller"),
        "autoscale": ("autoscale", "Auto-scale a deployment, replica set, stateful set, or replication controller"),
        "expose": ("expose", "Make a service for a pod, service, deployment or replica set"),
        "cordon": ("cordon", "Mark node as unschedulable"),
        "uncordon": ("uncordon", "Mark node as schedulable"),
        "drain": ("drain", "Drain node in preparation for maintenance"),
        "taint": ("taint", "Update the taints on one or more nodes"),
        "delete": ("delete", "Delete resources by file names, stdin, resources and names, or label selector"),
    },
    "Reach inside": {
        "exec": ("exec", "Execute a command in a container"),
        "attach": ("attach", "Attach to a running container"),
        "port-forward": ("port_forward", "Forward one or more local ports to a pod"),
        "debug": ("debug", "Create debugging sessions for troubleshooting workloads and nodes"),
        "cp": ("cp", "Copy files and directories to and from containers"),
    },
}


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit code."""
    try:
        return _run(list(arguments))
    except CommandError as error:
        if str(error):
            print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # the reader (head, less) has gone; that is its right
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def _run(arguments: list[str]) -> int:
    arguments = _verb_first(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        return _help(arguments[1:])
    if arguments[0] in ("--version", "-V"):
        from importlib.metadata import version

        print(f"carob {version('carob')}")
        return 0
    verbs = {verb: entry for group in GROUPS.values() for verb, entry in group.items()}
    return _run_verb("carob", verbs, arguments)


def _help(words: Sequence[str]) -> int:
    if words:
        return _run([*words, "--help"])
    from carob.cli.help import main_help

    print(main_help(GROUPS))
    return 0


def _verb_first(arguments: list[str]) -> list[str]:
    """`carob -n kube-system get pods` is `carob get pods -n kube-system`: the common flags may come first."""
    if not arguments or not arguments[0].startswith("-") or arguments[0] in ("-h", "--help", "-V", "--version"):
        return arguments
    from carob.cli.connection import add_connection_flags
    from carob.cli.flags import Flags

    flags = Flags("carob")
    add_connection_flags(flags)
    end = flags.first_word(arguments)
    return [*arguments[end : end + 1], *arguments[:end], *arguments[end + 1 :]]


def _run_verb(command: str, verbs: Mapping[str, tuple[str, str]], arguments: list[str]) -> int:
    entry = verbs.get(arguments[0])
    if entry is None:
        from carob.cli.help import unknown_verb

        raise unknown_verb(command, arguments[0], verbs)
    module = _load(entry[0])
    command = f"{command} {arguments[0]}"
    inner: Mapping[str, tuple[str, str]] = getattr(module, "VERBS", {})
    if inner and arguments[1:]:
        end = _first_word(command, module, arguments[1:])
        rest = [*arguments[1 + end : 2 + end], *arguments[1 : 1 + end], *arguments[2 + end :]]
        word = getattr(module, "ALIASES", {}).get(rest[0], rest[0])
        if word in inner:
            return _run_verb(command, inner, [word, *rest[1:]])
        if not hasattr(module, "run") and not word.startswith("-"):
            return _run_verb(command, inner, rest)
    return _run_module(command, module, arguments[1:])


def _first_word(command: str, module: Any, arguments: Sequence[str]) -> int:
    """Where the inner verb stands: flags may come before it (`create -n x configmap`)."""
    if not arguments[0].startswith("-") or arguments[0] in ("-h", "--help"):
        return 0
    from carob.cli.connection import add_connection_flags
    from carob.cli.flags import Flags, HelpWanted

    flags = Flags(command)
    if hasattr(module, "add_flags"):
        module.add_flags(flags)
    else:
        add_connection_flags(flags)
    try:
        return flags.first_word(arguments)
    except (CommandError, HelpWanted):
        return 0


def _load(name: str) -> Any:
    """`get` is a module, `image:Ls` a class in one."""
    import importlib

    module, _, inner = name.partition(":")
    loaded = importlib.import_module(f"carob.cli.{module}")
    return getattr(loaded, inner) if inner else loaded


def _run_module(command: str, module: Any, arguments: list[str]) -> int:
    from carob.cli.flags import Flags, HelpWanted

    if not hasattr(module, "run"):
        return _show_help(command, module)
    flags = Flags(command)
    module.add_flags(flags)
    try:
        parsed = flags.parse(arguments)
    except HelpWanted:
        return _show_help(command, module)
    if getattr(parsed, "kustomize", None):
        from carob.cli import kustomizations

        kustomizations.take(parsed)
    return int(module.run(parsed))


def _show_help(command: str, module: Any) -> int:
    from carob.cli.flags import Flags
    from carob.cli.help import verb_help

    flags = Flags(command)
    if hasattr(module, "add_flags"):
        module.add_flags(flags)
    print(verb_help(flags, module.__doc__ or "", getattr(module, "VERBS", {})))
    return 0
