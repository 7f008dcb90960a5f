"""`--feature-gates` and `--runtime-config`, for `carob up` and `carob server`."""

from __future__ import annotations

from carob.cli import clusters
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kube-apiserver's."""
    flags.csv(
        "feature-gates",
        meta="NAME=BOOL,...",
        help="gates that v1.36 has closed: ClusterTrustBundle, ClusterTrustBundleProjection",
    )
    flags.csv("runtime-config", meta="API=BOOL,...", help="group versions to serve: certificates.k8s.io/v1beta1=true")


def read(arguments: Arguments) -> str:
    """Both as the server reads them; empty where neither is given. Raises: CommandError."""
    if not arguments.feature_gates and not arguments.runtime_config:
        return ""
    import msgspec

    from carob.api.features import read as read_features

    try:
        return msgspec.json.encode(read_features(arguments.feature_gates, arguments.runtime_config)).decode()
    except ValueError as error:
        raise CommandError(f"error: {error}") from error


def put(cluster: Cluster, text: str) -> None:
    """Write it where the server finds it. Raises: CommandError when a server runs with others."""
    clusters.keep_for_server(cluster, cluster.features_file, text, "feature")
