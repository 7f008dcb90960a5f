"""`--audit-*`, for `carob up` and `carob server`: checked before anything starts, kept with the state."""

from __future__ import annotations

from pathlib import Path

from carob.cli import clusters
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

_LIMITS = (
    ("audit-log-maxage", "DAYS", "remove files that were put aside so long ago (default: never)"),
    ("audit-log-maxbackup", "N", "how many files that were put aside are kept (default: all)"),
    ("audit-log-maxsize", "MB", "put the file aside when it is so large (default: 100)"),
)


def add_flags(flags: Flags) -> None:
    """kube-apiserver's."""
    flags.text("audit-policy-file", meta="FILE", help="a Policy of audit.k8s.io/v1: which requests are written down")
    flags.text("audit-log-path", meta="FILE", help="where to, a JSON line each; - for the server's standard output")
    for name, meta, text in _LIMITS:
        flags.number(name, meta=meta, help=text)


def read(arguments: Arguments) -> str:
    """The options as the server reads them; empty where nothing is to be written. Raises: CommandError."""
    file, path = arguments.audit_policy_file, arguments.audit_log_path
    limits = [arguments.audit_log_maxage, arguments.audit_log_maxbackup, arguments.audit_log_maxsize]
    for (name, _, _), number in zip(_LIMITS, limits, strict=True):
        if number < 0:
            raise CommandError(f"error: --{name} must be a non-negative number")
    if not file or not path:
        if path or file:
            raise CommandError("error: --audit-policy-file and --audit-log-path belong together")
        return ""
    import msgspec

    from carob.apiserver.audit import policy
    from carob.apiserver.audit.log_file import STANDARD_OUTPUT

    try:
        wanted = policy.read(Path(file).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"error: --audit-policy-file: cannot read {file}: {error}") from error
    except policy.PolicyError as error:
        raise CommandError(f"error: --audit-policy-file: {file}: {error}") from error
    place = path if path == STANDARD_OUTPUT else str(Path(path).absolute())
    if Path(place).is_dir():
        raise CommandError(f"error: --audit-log-path: {path} is a directory")
    return msgspec.json.encode(policy.AuditOptions(wanted, place, *limits)).decode()


def put(cluster: Cluster, text: str) -> None:
    """Write it where the server finds it. Raises: CommandError when a server runs with others."""
    clusters.keep_for_server(cluster, cluster.audit_file, text, "audit")
