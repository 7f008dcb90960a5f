"""Which server is meant and who asks: the flags and the kubeconfig, read as kubectl reads them.

`--kubeconfig`, else `KUBECONFIG`, else `~/.kube/config`, else the token that a Pod is given. Reads files, never writes.
"""

from __future__ import annotations

import os

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from carob.cli.flags import Arguments, Flags

SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"


def add_connection_flags(flags: Flags) -> None:
    """The flags that every kubectl verb has."""
    flags.section = "Which server, as whom"
    flags.text("namespace", "n", meta="NS", help="the namespace of this request")
    flags.text("context", meta="CONTEXT", help="the kubeconfig context to use")
    flags.text("cluster", meta="NAME", help="the kubeconfig cluster to use")
    flags.text("user", meta="NAME", help="the kubeconfig user to use")
    flags.text("kubeconfig", meta="FILE", help="the kubeconfig file to use")
    flags.text("server", "s", meta="URL", help="address of the API server")
    flags.text("token", meta="TOKEN", help="bearer token")
    flags.text("as", meta="USER", help="user to impersonate")
    flags.texts("as-group", meta="GROUP", help="group to impersonate; may be repeated")
    flags.text("as-uid", meta="UID", help="uid to impersonate")
    flags.text("certificate-authority", meta="FILE", help="who signs the server's certificate")
    flags.text("client-certificate", meta="FILE", help="certificate to show")
    flags.text("client-key", meta="FILE", help="its key")
    flags.switch("insecure-skip-tls-verify", help="do not check the server's certificate")
    flags.text("tls-server-name", meta="NAME", help="the name in the server's certificate")
    flags.text("request-timeout", default="0", meta="T", help="give up on one request after this time")
    # kubectl has these, and here they change nothing
    flags.text("cache-dir")
    flags.text("kuberc")
    flags.number("v", "v")
    flags.switch("disable-compression")
    flags.switch("match-server-version")
    flags.switch("warnings-as-errors")


class Endpoint:
    """A server and the credentials for it. Certificates and keys are PEM."""

    def __init__(self, server: str, namespace: str = "default") -> None:
        self.server = server
        self.namespace = namespace
        self.ca = b""
        self.certificate = b""
        self.key = b""
        self.token = ""
        self.verify = True
        self.server_name = ""
        self.headers: list[tuple[str, str]] = []
        self.further: list[str] = []
        """Servers of the same cluster, asked when `server` cannot be reached."""


def endpoint_of(arguments: Arguments) -> Endpoint:
    """What the flags and the kubeconfig say. Raises: CommandError."""
    config = _load_kubeconfig(arguments.kubeconfig)
    name = arguments.context or config.get("current-context", "")
    context = _named(config, "contexts", name, "context")
    if context is None and arguments.context:
        if arguments.namespace:
            raise CommandError(f'error: context "{name}" does not exist')
        raise CommandError(f"Error in configuration: context was not found for specified context: {name}")
    if context is None and not (arguments.cluster or arguments.user):
        endpoint = _in_cluster() or Endpoint("http://localhost:8080")
    else:
        endpoint = _from_context(config, context or {}, arguments)
    _override(endpoint, arguments)
    return endpoint


def _override(endpoint: Endpoint, arguments: Arguments) -> None:
    if arguments.server:
        server = arguments.server
        endpoint.server = server if "://" in server else f"http://{server}"
        endpoint.further = []
    if arguments.token:
        endpoint.token = arguments.token
    if arguments.certificate_authority:
        endpoint.ca = _read(arguments.certificate_authority)
    if arguments.client_certificate:
        endpoint.certificate = _read(arguments.client_certificate)
    if arguments.client_key:
        endpoint.key = _read(arguments.client_key)
    if arguments.insecure_skip_tls_verify:
        endpoint.verify = False
    if arguments.tls_server_name:
        endpoint.server_name = arguments.tls_server_name
    if getattr(arguments, "as"):
        endpoint.headers.append(("Impersonate-User", getattr(arguments, "as")))
    if arguments.as_uid:
        endpoint.headers.append(("Impersonate-Uid", arguments.as_uid))
    endpoint.headers += [("Impersonate-Group", group) for group in arguments.as_group]
    if arguments.namespace:
        endpoint.namespace = arguments.namespace


def _load_kubeconfig(flag: str) -> dict[str, Any]:
    """The files of the list, merged: the first to say something wins, as kubectl merges them."""
    files = [flag] if flag else [p for p in os.environ.get("KUBECONFIG", "").split(":") if p]
    files = files or [os.path.expanduser("~/.kube/config")]
    merged: dict[str, Any] = {"clusters": [], "contexts": [], "users": []}
    for file in files:
        try:
            with open(file, "rb") as stream:
                text = stream.read()
        except FileNotFoundError:
            if flag:
                raise CommandError(f"error: stat {flag}: no such file or directory") from None
            continue
        except OSError as error:
            raise CommandError(
                f"error: error loading config file {file!r}: open {file}: {str(error.strerror).lower()}"
            ) from error
        _merge(merged, _parse(text, file), file)
    return merged


def _merge(merged: dict[str, Any], tree: Any, file: str) -> None:
    if tree is None:
        return
    if not isinstance(tree, dict):
        raise CommandError(f'error: error loading config file "{file}": it is no kubeconfig')
    for kind in ("clusters", "contexts", "users"):
        known = {entry.get("name") for entry in merged[kind]}
        for entry in tree.get(kind) or []:
            if isinstance(entry, dict) and entry.get("name") not in known:
                merged[kind].append({**entry, "folder": os.path.dirname(os.path.abspath(file))})
    if tree.get("current-context") and not merged.get("current-context"):
        merged["current-context"] = tree["current-context"]


def _parse(text: bytes, file: str) -> Any:
    if text.lstrip()[:1] == b"{":
        import json

        try:
            return json.loads(text)
        except ValueError:
            pass  # a flow mapping in YAML begins like this, too
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise CommandError(f'error: error loading config file "{file}": {error}') from error


def _named(config: Mapping[str, Any], kind: str, name: str, inner: str) -> dict[str, Any] | None:
    for entry in config[kind]:
        if entry.get("name") == name and name:
            return {**(entry.get(inner) or {}), "folder": entry["folder"]}
    return None


def _from_context(config: Mapping[str, Any], context: Mapping[str, Any], arguments: Arguments) -> Endpoint:
    cluster_name = arguments.cluster or context.get("cluster", "")
    cluster = _named(config, "clusters", cluster_name, "cluster")
    if cluster is None and arguments.cluster:
        # kubectl asks for the namespace first, and finds it wanting in other words
        if arguments.namespace:
            raise CommandError(f'error: cluster "{cluster_name}" does not exist')
        raise CommandError(f'error: no server found for cluster "{cluster_name}"')
    user_name = arguments.user or context.get("user", "")
    user = _named(config, "users", user_name, "user")
    if user is None and arguments.user:
        raise CommandError(f'error: auth info "{user_name}" does not exist')
    cluster, user = cluster or {}, user or {}
    if user.get("exec") or user.get("auth-provider"):
        raise CommandError(f'error: the user "{user_name}" logs in with a plugin, which carob does not run')
    endpoint = Endpoint(cluster.get("server") or "http://localhost:8080", context.get("namespace") or "default")
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == "carob":
            endpoint.further = list(extension.get("extension", {}).get("servers") or [])
    endpoint.ca = _data(cluster, "certificate-authority")
    endpoint.certificate = _data(user, "client-certificate")
    endpoint.key = _data(user, "client-key")
    endpoint.token = user.get("token", "")
    if user.get("tokenFile"):
        endpoint.token = _read(os.path.join(user["folder"], user["tokenFile"])).decode().strip()
    endpoint.verify = not cluster.get("insecure-skip-tls-verify", False)
    endpoint.server_name = cluster.get("tls-server-name", "")
    return endpoint


def _data(entry: Mapping[str, Any], name: str) -> bytes:
    inline = entry.get(name + "-data")
    if inline:
        from binascii import a2b_base64

        return a2b_base64(inline)
    file = entry.get(name)
    return _read(os.path.join(entry["folder"], file)) if file else b""


def _read(file: str) -> bytes:
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise CommandError(f"error: unable to read {file}: {error.strerror}") from error


def _in_cluster() -> Endpoint | None:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not os.path.exists(f"{SERVICE_ACCOUNT_DIR}/token"):
        return None
    endpoint = Endpoint(f"https://{host}:{port}", _read(f"{SERVICE_ACCOUNT_DIR}/namespace").decode().strip())
    endpoint.ca = _read(f"{SERVICE_ACCOUNT_DIR}/ca.crt")
    endpoint.token = _read(f"{SERVICE_ACCOUNT_DIR}/token").decode().strip()
    return endpoint
