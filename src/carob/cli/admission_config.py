"""What admission is told, for `carob up` and `carob server`: the Pod security of namespaces that say nothing, and exemptions."""

from __future__ import annotations

from pathlib import Path

from carob.cli import clusters
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kube-apiserver's."""
    flags.text(
        "admission-control-config-file",
        meta="FILE",
        help="an AdmissionConfiguration for the plugin PodSecurity: usual levels, exemptions",
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


def put(cluster: Cluster, text: str) -> None:
    """Write it where the server finds it. Raises: CommandError when a server runs with other rules."""
    clusters.keep_for_server(cluster, cluster.pod_security_file, text, "admission")
