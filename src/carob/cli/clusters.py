"""Finding the cluster that a command means, and keeping two commands from changing it at once."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path

from carob.base.layout import RUN_ROOT, STATE_ROOT, Cluster
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

# the name becomes part of interface, cgroup and nftables names
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,22}[a-z0-9])?")


def add_name_flags(flags: Flags, default: str = "default") -> None:
    """`--name` and `--data-dir`: which cluster is meant."""
    flags.text("name", default=default, meta="N", help="which cluster")
    flags.text("data-dir", default=str(STATE_ROOT), meta="D", help="where clusters keep their state")


def check_name(name: str) -> None:
    """Raises: CommandError when a cluster cannot be called so."""
    if not _NAME.fullmatch(name):
        raise CommandError(
            f'error: invalid cluster name "{name}": lower-case letters, digits and dashes, at most 24 of them'
        )


def load(arguments: Arguments) -> Cluster | None:
    """The cluster that the arguments name, or None if it does not exist."""
    check_name(arguments.name)
    file = Path(arguments.data_dir) / arguments.name / "cluster.json"
    try:
        return Cluster.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise CommandError(f"error: {error}; `carob down --name {arguments.name}` clears it away") from error


def existing(arguments: Arguments) -> Cluster:
    """The cluster that the arguments name. Raises: CommandError if it does not exist."""
    cluster = load(arguments)
    if cluster is None:
        raise CommandError(f'error: there is no cluster "{arguments.name}"; start it with `carob up`')
    return cluster


def need_no_words(arguments: Arguments, command: str) -> None:
    """Refuse what stands behind the flags: nobody shall get the cluster "default" who named another one wrongly."""
    if arguments.words:
        raise CommandError(
            f'error: unexpected argument "{arguments.words[0]}"; `{command}` takes flags only, such as --name\n'
            f"See '{command} --help' for usage."
        )


def save(cluster: Cluster) -> None:
    """Raises: CommandError when it cannot be written."""
    try:
        cluster.save()
    except OSError as error:
        raise CommandError(
            f"error: cannot keep the cluster's state in {cluster.state_dir}: {error.strerror}"
        ) from error


def admin(cluster: Cluster) -> Connection:
    """The superuser's connection to the cluster's server on this machine. Raises: CommandError if it has none here."""
    from carob.cli.access import Endpoint
    from carob.cli.connection import Connection

    endpoint = Endpoint(f"https://127.0.0.1:{cluster.api_port}")
    try:
        endpoint.ca = (cluster.pki_dir / "ca.crt").read_bytes()
        endpoint.certificate = (cluster.pki_dir / "admin.crt").read_bytes()
        endpoint.key = (cluster.pki_dir / "admin.key").read_bytes()
    except FileNotFoundError as error:
        raise CommandError(f'error: no server of the cluster "{cluster.name}" has run on this machine') from error
    except OSError as error:
        raise CommandError(f"error: cannot read {error.filename}: {error.strerror}") from error
    return Connection(endpoint)


def need_root(what: str) -> None:
    """Raises: CommandError unless this is root."""
    if os.geteuid() != 0:
        raise CommandError(f"error: {what} needs root (it makes namespaces, mounts and cgroups); try it with sudo")


# no cluster can be called so
DECIDING = "_deciding"


def lock_file(name: str) -> Path:
    """The file whose lock keeps two commands from changing a cluster at once."""
    return RUN_ROOT / f".{name}.lock"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one `up` or `down` of a cluster at a time; the second one waits. Nothing is left of the lock itself."""
    path = lock_file(name)
    fd = _lock(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)
        with suppress(OSError):
            RUN_ROOT.rmdir()  # only where nobody else has anything


def _lock(path: Path) -> int:
    """The lock's descriptor. Who waited for a file that is gone by then has to begin anew."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except (FileNotFoundError, FileExistsError):
            if path.parent.is_file():
                raise
            continue  # the folder went between two looks at it
        fcntl.flock(fd, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(fd).st_ino == path.stat().st_ino:
                return fd
        os.close(fd)


def keep_for_server(cluster: Cluster, place: Path, text: str, what: str) -> None:
    """Put a configuration where the server finds it when it starts; an empty one changes nothing.

    Raises: CommandError when a server runs with another one.
    """
    from carob.cli import processes

    if not text or (place.exists() and place.read_text() == text):
        return
    if processes.find(cluster.run_dir, "server") is not None:
        raise CommandError(
            f'error: cluster "{cluster.name}" runs with another {what} configuration; `carob down --name '
            f"{cluster.name} --keep-data` stops it, then it can be started with this one"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
