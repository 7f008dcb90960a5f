"""The kubeconfig: read it, put a cluster of ours into it, take that out again, and build the road that it describes.

Touches the files named by `KUBECONFIG`, else `~/.kube/config`. Writing keeps everything that is not ours, replaces the
file in one step (nobody ever reads half of it), and leaves it readable for its owner only. Several carobs may write
at the same time: the folder is locked meanwhile.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
from pathlib import Path

from carob.base.description import Description

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from carob.transport.http import Transport

_KINDS = ("clusters", "contexts", "users")
# Under this name a context of ours remembers which context was the current one before.
_EXTENSION = "carob"


class KubeconfigError(Exception):
    """The file cannot be used; the message names it."""


class Access(Description):
    """A server and how to be let in. The `…_data` fields are PEM; `namespace` is the context's default."""

    server: str
    namespace: str = "default"
    ca_data: bytes = b""
    certificate_data: bytes = b""
    key_data: bytes = b""
    token: str = ""
    token_file: str = ""
    server_name: str = ""
    insecure: bool = False
    further_servers: tuple[str, ...] = ()
    """Servers of the same cluster that are asked when the first is gone: an extension of carob's."""

    def transport(self) -> Transport:
        """The road there. Raises: KubeconfigError for certificates that cannot be used."""
        from carob.transport.client import SocketTransport
        from carob.transport.failover import FailoverTransport
        from carob.transport.tls import client_context

        servers = (self.server, *self.further_servers)
        tls = None
        if any(server.startswith("https://") for server in servers):
            try:
                tls = client_context(
                    ca_data=self.ca_data.decode(),
                    certificate_data=self.certificate_data,
                    key_data=self.key_data,
                    insecure=self.insecure,
                )
            except (OSError, ValueError) as error:
                raise KubeconfigError(f"the certificates for {self.server} cannot be used: {error}") from error
        try:
            roads = [
                SocketTransport(
                    server, tls=tls, server_name=self.server_name, token=self.token, token_file=self.token_file
                )
                for server in servers
            ]
        except ValueError as error:
            raise KubeconfigError(str(error)) from error
        return FailoverTransport(roads) if len(roads) > 1 else roads[0]


def files() -> list[Path]:
    """The files that count: those of `KUBECONFIG`, else the one in the home folder. They need not exist."""
    listed = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [_default_file()]


def load(paths: list[Path] | None = None) -> dict[str, Any]:
    """All files merged; of two entries with one name the first counts. Raises: KubeconfigError.

    Paths of certificates and tokens in it are absolute.
    """
    merged: dict[str, Any] = {kind: [] for kind in _KINDS}
    for path in paths if paths is not None else files():
        tree = _read(path)
        for kind in _KINDS:
            known = {entry["name"] for entry in merged[kind]}
            for entry in _entries(tree, kind):
                if entry["name"] not in known:
                    _make_absolute(entry, path.parent)
                    merged[kind].append(entry)
        if tree.get("current-context") and "current-context" not in merged:
            merged["current-context"] = tree["current-context"]
    return merged


def access(context: str = "", config: dict[str, Any] | None = None) -> Access:
    """What a context (default: the current one) says. Raises: KubeconfigError."""
    config = load() if config is None else config
    context = context or config.get("current-context", "")
    if not context:
        raise KubeconfigError("no context is chosen: name one, or set current-context in the kubeconfig")
    chosen = _entry(config, "contexts", context)
    if chosen is None:
        raise KubeconfigError(f'context "{context}" does not exist')
    cluster = _entry(config, "clusters", chosen.get("cluster", "")) or {}
    user = _entry(config, "users", chosen.get("user", "")) or {}
    if not cluster.get("server"):
        raise KubeconfigError(f'context "{context}" names no cluster with a server')
    if user.get("exec") or user.get("auth-provider"):
        raise KubeconfigError(f'context "{context}" uses a credential plugin, which carob does not run')
    return Access(
        server=cluster["server"],
        namespace=chosen.get("namespace") or "default",
        ca_data=_data(cluster, "certificate-authority"),
        certificate_data=_data(user, "client-certificate"),
        key_data=_data(user, "client-key"),
        token="" if user.get("tokenFile") else user.get("token", ""),
        token_file=user.get("tokenFile", ""),
        server_name=cluster.get("tls-server-name", ""),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        further_servers=tuple(further_servers(cluster)),
    )


def further_servers(cluster: dict[str, Any]) -> list[str]:
    """What a cluster's entry says in carob's extension of it."""
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == _EXTENSION:
            return [str(server) for server in extension.get("extension", {}).get("servers") or []]
    return []


def merge_context(
    name: str,
    *,
    server: str,
    certificate_authority: bytes,
    client_certificate: bytes,
    client_key: bytes,
    further: Sequence[str] = (),
    file: Path | None = None,
) -> Path:
    """Put cluster, user and context `name` into the file and make the context the current one; returns the file.

    Shape: certificates and key are PEM; `further` are servers to ask when `server` is gone.
    Raises: KubeconfigError if what is there cannot be read; OSError.
    """
    path = files()[0] if file is None else file
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        tree = _read(path) or {"apiVersion": "v1", "kind": "Config"}
        context: dict[str, Any] = {"cluster": name, "user": name}
        previous = tree.get("current-context") or ""
        if previous == name:
            previous = _previous_context(tree, name)
        if previous:
            context["extensions"] = [{"name": _EXTENSION, "extension": {"previous-context": previous}}]
        cluster: dict[str, Any] = {
            "certificate-authority-data": _base64(certificate_authority),
            "server": server,
        }
        if further:
            cluster["extensions"] = [{"name": _EXTENSION, "extension": {"servers": list(further)}}]
        user = {"client-certificate-data": _base64(client_certificate), "client-key-data": _base64(client_key)}
        _set(tree, "clusters", {"name": name, "cluster": cluster})
        _set(tree, "contexts", {"name": name, "context": context})
        tree["current-context"] = name
        _set(tree, "users", {"name": name, "user": user})
        _write(path, tree)
    return path


def remove_context(name: str) -> None:
    """Take cluster, user and context `name` out again; a file that then says nothing is removed.

    The context that was current before becomes current again. Raises: KubeconfigError, OSError.
    """
    for path in files():
        if not path.exists():
            continue
        with _locked(path.parent):
            _remove_from(path, name)
        if path == _default_file():
            # only goes if it is empty
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def _remove_from(path: Path, name: str) -> None:
    tree = _read(path)
    if not any(entry["name"] == name for kind in _KINDS for entry in _entries(tree, kind)):
        return
    previous = _previous_context(tree, name)
    for kind in _KINDS:
        tree[kind] = [entry for entry in _entries(tree, kind) if entry["name"] != name]
    if tree.get("current-context") == name:
        known = {entry["name"] for entry in tree["contexts"]}
        tree["current-context"] = previous if previous in known else ""
    if any(value for key, value in tree.items() if key not in ("apiVersion", "kind")):
        _write(path, tree)
    else:
        path.unlink()


def _previous_context(tree: dict[str, Any], name: str) -> str:
    context = _entry(tree, "contexts", name) or {}
    for extension in context.get("extensions") or []:
        if extension.get("name") == _EXTENSION:
            return str(extension.get("extension", {}).get("previous-context", ""))
    return ""


def _default_file() -> Path:
    return Path.home() / ".kube" / "config"


def _read(path: Path) -> dict[str, Any]:
    """The file's tree; empty if there is no file."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KubeconfigError(f"cannot read {path}: {error.strerror}") from error
    tree = _parse(path, text)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig: it holds no mapping")
    for kind in _KINDS:
        entries = tree.get(kind) or []
        if not isinstance(entries, list) or not all(isinstance(e, dict) and e.get("name") for e in entries):
            raise KubeconfigError(f"{path} is not a kubeconfig: {kind} is no list of named entries")
    return tree


def _parse(path: Path, text: bytes) -> Any:
    if text.lstrip().startswith(b"{"):
        # JSON is read without loading a YAML parser; what merely looks like JSON goes on to it
        with contextlib.suppress(ValueError):
            return json.loads(text)
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise KubeconfigError(f"{path} is not valid YAML: {error}") from error


def _write(path: Path, tree: dict[str, Any]) -> None:
    path = path.resolve()
    text = _render(path, tree)
    # the folder is locked: no other process of ours writes there, and one that did may have left its file behind
    temporary = path.with_name(f".{path.name}.carob")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError, PermissionError):
                owner = path.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _render(path: Path, tree: dict[str, Any]) -> str:
    """In the form that the file has; a new one is JSON, which is YAML too and costs a command no parser to load."""
    try:
        with path.open("rb") as file:
            json_form = file.read(1) in (b"{", b"")
    except FileNotFoundError:
        json_form = True
    if json_form:
        return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(
        yaml.dump(tree, Dumper=dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1 << 20)
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else of ours writes in `folder` meanwhile; the lock is on the folder, so that no lock file stays behind."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _entries(tree: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return list(tree.get(kind) or [])


def _entry(tree: dict[str, Any], kind: str, name: str) -> dict[str, Any] | None:
    for entry in _entries(tree, kind):
        if entry["name"] == name:
            inner: dict[str, Any] = entry.get(kind.removesuffix("s")) or {}
            return inner
    return None


def _set(tree: dict[str, Any], kind: str, entry: dict[str, Any]) -> None:
    others = [other for other in _entries(tree, kind) if other["name"] != entry["name"]]
    tree[kind] = [*others, entry]


def _make_absolute(entry: dict[str, Any], folder: Path) -> None:
    """Relative paths in a kubeconfig count from its own folder."""
    for inner in entry.values():
        if isinstance(inner, dict):
            for field in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
                if inner.get(field):
                    inner[field] = str(folder / inner[field])


def _data(entry: dict[str, Any], field: str) -> bytes:
    inline = entry.get(f"{field}-data")
    if inline:
        try:
            return base64.b64decode(inline)
        except ValueError as error:
            raise KubeconfigError(f"{field}-data in the kubeconfig is not base64") from error
    path = entry.get(field)
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise KubeconfigError(f"cannot read {path}: {error.strerror}") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
