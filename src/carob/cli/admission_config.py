"""What admission is told, for `carob up` and `carob server`: the Pod security of namespaces that say nothing, and exemptions."""

from __future__ import annotations

from pathlib import Path

from carob.cli import clusters
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags


_OPTIONAL = frozenset(("OwnerReferencesPermissionEnforcement",))
_ALWAYS_ON = frozenset(
    (
        "CertificateApproval",
        "CertificateSigning",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "DefaultStorageClass",
        "DefaultTolerationSeconds",
        "LimitRanger",
        "NamespaceLifecycle",
        "NodeRestriction",
        "PersistentVolumeClaimResize",
        "PodSecurity",
        "Priority",
        "ResourceQuota",
        "RuntimeClass",
        "ServiceAccount",
        "StorageObjectInUseProtection",
        "TaintNodesByCondition",
    )
)


def add_flags(flags: Flags) -> None:
    """kube-apiserver's."""
    flags.text(
        "admission-control-config-file",
        meta="FILE",
        help="an AdmissionConfiguration for the plugin PodSecurity: usual levels, exemptions",
    )
    flags.csv(
        "enable-admission-plugins",
        meta="NAME,...",
        help="besides those that are on: OwnerReferencesPermissionEnforcement",
    )


def read(arguments: Arguments) -> str:
    """The rules as the server reads them; empty where no file is named. Raises: CommandError."""
    file = arguments.admission_control_config_file
    if not file:
        return ""
    import msgspec

    from carob.apiserver.admission.pod_security_rules import PodSecurityError, load

    try:
        return msgspec.json.encode(load(Path(file))).decode()
    except OSError as error:
        raise CommandError(f"error: --admission-control-config-file: cannot read {file}: {error}") from error
    except PodSecurityError as error:
        raise CommandError(f"error: --admission-control-config-file: {file}: {error}") from error


def plugins(arguments: Arguments) -> str:
    """The names of plugins that are to be on, one a line. Raises: CommandError for what is none."""
    wanted = []
    for name in arguments.enable_admission_plugins:
        if name in _OPTIONAL:
            wanted.append(name)
        elif name not in _ALWAYS_ON:
            raise CommandError(f'error: --enable-admission-plugins: "{name}" is unknown')
    return "".join(f"{name}\n" for name in sorted(set(wanted)))


def put(cluster: Cluster, text: str, names: str) -> None:
    """Write both where the server finds them. Raises: CommandError when a server runs with others."""
    clusters.keep_for_server(cluster, cluster.pod_security_file, text, "admission")
    clusters.keep_for_server(cluster, cluster.admission_plugins_file, names, "admission")
