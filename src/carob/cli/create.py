"""Create a resource from a file or from stdin, or a small one from flags.

Examples:
  carob create -f pod.yml
  carob create namespace staging
  carob create configmap settings --from-literal=level=debug --from-file=app.conf
  carob create secret generic password --from-literal=word=tell-nobody
  carob create token default --duration=10m
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.cli.apply import encode_last_applied, field_validation, with_last_applied
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags
    from carob.cli.manifests import Manifest

VERBS = {
    "namespace": ("creators.simple:Namespace", "Create a namespace with the specified name"),
    "configmap": ("creators.keyed:ConfigMap", "Create a config map from a local file, directory or literal value"),
    "secret": ("creators.secret", "Create a secret: generic, docker-registry, tls"),
    "serviceaccount": ("creators.simple:ServiceAccount", "Create a service account with the specified name"),
    "token": ("creators.token", "Request a service account token"),
    "deployment": ("creators.workload:Deployment", "Create a deployment with the specified name"),
    "job": ("creators.workload:Job", "Create a job with the specified name"),
    "cronjob": ("creators.workload:CronJob", "Create a cron job with the specified name"),
    "service": ("creators.services", "Create a service: clusterip, nodeport, loadbalancer, externalname"),
    "ingress": ("creators.services:Ingress", "Create an ingress with the specified name"),
    "role": ("creators.roles:Role", "Create a role with single rule"),
    "clusterrole": ("creators.roles:ClusterRole", "Create a cluster role"),
    "rolebinding": ("creators.roles:RoleBinding", "Create a role binding for a particular role or cluster role"),
    "clusterrolebinding": (
        "creators.roles:ClusterRoleBinding",
        "Create a cluster role binding for a particular cluster role",
    ),
    "quota": ("creators.limits:Quota", "Create a quota with the specified name"),
    "poddisruptionbudget": (
        "creators.limits:DisruptionBudget",
        "Create a pod disruption budget with the specified name",
    ),
    "priorityclass": ("creators.limits:PriorityClass", "Create a priority class with the specified name"),
}
ALIASES = {
    "ns": "namespace",
    "cm": "configmap",
    "sa": "serviceaccount",
    "deploy": "deployment",
    "dep": "deployment",
    "cj": "cronjob",
    "svc": "service",
    "ing": "ingress",
    "resourcequota": "quota",
    "pdb": "poddisruptionbudget",
    "pc": "priorityclass",
}


def add_flags(flags: Flags) -> None:
    """kubectl create's flags."""
    flags.usage = "-f FILE [flags]   |   KIND NAME [flags]"
    flags.csv("filename", "f", meta="FILE", help="file, folder, URL or - (standard input)")
    flags.csv("kustomize", "k", meta="DIR", help="what the kustomization there gives")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.text("selector", "l", meta="SELECTOR", help="only objects with these labels")
    flags.switch("save-config", help="keep what was given in the annotation that apply reads")
    flags.text("validate", default="strict", meta="MODE", bare="strict", help="strict, warn or ignore")
    flags.text("field-manager", default="kubectl-create")
    flags.text("raw")
    flags.switch("edit")
    flags.switch("windows-line-endings")
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Create every object of the files; errors of one do not stop the others."""
    if arguments.words:
        raise CommandError(
            f"error: Unexpected args: [{' '.join(arguments.words)}]\nSee 'carob create -h' for help and examples"
        )
    if not arguments.filename:
        raise CommandError("error: must specify one of -f and -k")
    connection = connect(arguments)
    try:
        return _create(connection, arguments)
    finally:
        connection.close()


def _create(connection: Connection, arguments: Arguments) -> int:
    from carob.cli.manifests import read_manifests
    from carob.cli.selection import Selection

    printer = ResultPrinter(arguments)
    mode = field_validation(arguments.validate)
    failed = False
    for manifest in read_manifests(arguments.filename, Selection(connection), recursive=arguments.recursive):
        try:
            _one(connection, arguments, printer, manifest, mode)
        except ApiError as error:
            failed = True
            print(server_error(error, verb="creating", source=manifest.source), file=sys.stderr)
    return 1 if failed else 0


def _one(
    connection: Connection, arguments: Arguments, printer: ResultPrinter, manifest: Manifest, validation: str
) -> None:
    from carob.cli.targets import check_namespace

    namespace = manifest.namespace(connection.namespace)
    check_namespace(arguments, manifest.resource, namespace)
    tree = manifest.tree
    if namespace:
        tree = {**tree, "metadata": {**(tree.get("metadata") or {}), "namespace": namespace}}
    if arguments.save_config:
        tree = with_last_applied(tree, encode_last_applied(tree))
    if printer.dry_run != "client":
        query: dict[str, str | list[str]] = {
            "fieldManager": arguments.field_manager,
            "fieldValidation": validation,
        }
        if printer.dry_run == "server":
            query["dryRun"] = "All"
        tree = connection.json("POST", manifest.resource.path(namespace or None), query, tree)
    printer.show(tree, "created")
    sys.stdout.flush()
