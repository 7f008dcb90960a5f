"""The command line's road to an API server: blocking, one request after another, cheap to start.

Reads the kubeconfig as kubectl does (`--kubeconfig`, `KUBECONFIG`, `~/.kube/config`, in-cluster token), so that the
kubectl-compatible verbs work against carob and against any Kubernetes. Keys from the kubeconfig never touch the disk:
OpenSSL reads them from an anonymous file in memory.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from carob.api.status import ApiError
from carob.cli import http1
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from carob.cli.http1 import Answer

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECT_TIMEOUT_SECONDS = 30.0
LARGE_BYTES = 1 << 20

TABLE_ACCEPT = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
JSON_ACCEPT = "application/json"


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that every kubectl verb has."""
    group = parser.add_argument_group("which server, as whom")
    group.add_argument("-n", "--namespace", default="", metavar="NS", help="the namespace of this request")
    group.add_argument("--context", default="", metavar="CONTEXT", help="the kubeconfig context to use")
    group.add_argument("--kubeconfig", default="", metavar="FILE", help="the kubeconfig file to use")
    group.add_argument("-s", "--server", default="", metavar="URL", help="address of the API server")
    group.add_argument("--token", default="", metavar="TOKEN", help="bearer token")
    group.add_argument("--as", dest="impersonate", default="", metavar="USER", help="user to impersonate")
    group.add_argument("--insecure-skip-tls-verify", action="store_true", help="do not check the server's certificate")
    group.add_argument("--request-timeout", default="0", metavar="T", help="give up on one request after this time")


class Endpoint:
    """A server and the credentials for it, as the kubeconfig tells. Certificates and keys are PEM."""

    def __init__(
        self,
        server: str,
        namespace: str = "default",
        *,
        ca: bytes = b"",
        certificate: bytes = b"",
        key: bytes = b"",
        token: str = "",
        verify: bool = True,
        server_name: str = "",
    ) -> None:
        self.server = server
        self.namespace = namespace
        self.ca = ca
        self.certificate = certificate
        self.key = key
        self.token = token
        self.verify = verify
        self.server_name = server_name
        self.headers: dict[str, str] = {}


def endpoint_of(arguments: argparse.Namespace) -> Endpoint:
    """What the flags and the kubeconfig say. Raises: CommandError."""
    config = _load_kubeconfig(arguments.kubeconfig)
    name = arguments.context or config.get("current-context", "")
    context = _named(config, "contexts", name, "context")
    if context is None:
        if name:
            raise CommandError(f'error: context "{name}" does not exist')
        endpoint = _in_cluster() or Endpoint("http://localhost:8080")
    else:
        endpoint = _from_context(config, context)
    if arguments.server:
        endpoint.server = arguments.server
    if arguments.token:
        endpoint.token = arguments.token
    if arguments.insecure_skip_tls_verify:
        endpoint.verify = False
    if arguments.impersonate:
        endpoint.headers["Impersonate-User"] = arguments.impersonate
    if arguments.namespace:
        endpoint.namespace = arguments.namespace
    return endpoint


def _load_kubeconfig(flag: str) -> dict[str, Any]:
    """The files of the list, merged: the first to say something wins, as kubectl merges them."""
    listed = [flag] if flag else [p for p in os.environ.get("KUBECONFIG", "").split(":") if p]
    files = [Path(p) for p in listed] or [Path.home() / ".kube" / "config"]
    merged: dict[str, Any] = {"clusters": [], "contexts": [], "users": []}
    for file in files:
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            if flag:
                raise CommandError(f"error: stat {flag}: no such file or directory") from None
            continue
        tree = parse_yaml(text, str(file)) or {}
        for kind in ("clusters", "contexts", "users"):
            known = {entry["name"] for entry in merged[kind]}
            merged[kind] += [e for e in tree.get(kind) or [] if e.get("name") not in known]
        if tree.get("current-context") and not merged.get("current-context"):
            merged["current-context"] = tree["current-context"]
    return merged


def parse_yaml(text: bytes, source: str) -> Any:
    """One YAML or JSON document. Raises: CommandError naming the source."""
    if text.lstrip()[:1] == b"{":
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            pass  # a flow mapping in YAML begins like this, too
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise CommandError(f"error: {source}: {error}") from error


def _named(config: Mapping[str, Any], kind: str, name: str, inner: str) -> dict[str, Any] | None:
    for entry in config.get(kind) or []:
        if entry.get("name") == name and name:
            return entry.get(inner) or {}
    return None


def _from_context(config: Mapping[str, Any], context: Mapping[str, Any]) -> Endpoint:
    cluster = _named(config, "clusters", context.get("cluster", ""), "cluster") or {}
    user = _named(config, "users", context.get("user", ""), "user") or {}
    token = user.get("token", "")
    if user.get("tokenFile"):
        token = Path(user["tokenFile"]).read_text().strip()
    return Endpoint(
        server=cluster.get("server", "http://localhost:8080"),
        namespace=context.get("namespace") or "default",
        ca=_data(cluster, "certificate-authority"),
        certificate=_data(user, "client-certificate"),
        key=_data(user, "client-key"),
        token=token,
        verify=not cluster.get("insecure-skip-tls-verify", False),
        server_name=cluster.get("tls-server-name", ""),
    )


def _data(entry: Mapping[str, Any], name: str) -> bytes:
    inline = entry.get(name + "-data")
    if inline:
        return base64.b64decode(inline)
    file = entry.get(name)
    return Path(file).read_bytes() if file else b""


def _in_cluster() -> Endpoint | None:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    token = SERVICE_ACCOUNT_DIR / "token"
    if not host or not port or not token.exists():
        return None
    return Endpoint(
        f"https://{host}:{port}",
        (SERVICE_ACCOUNT_DIR / "namespace").read_text().strip(),
        ca=(SERVICE_ACCOUNT_DIR / "ca.crt").read_bytes(),
        token=token.read_text().strip(),
    )


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """The TLS client side of an endpoint."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif endpoint.ca:
        context.load_verify_locations(cadata=endpoint.ca.decode())
    else:
        context.load_default_certs()
    if endpoint.certificate:
        fd = os.memfd_create("client", os.MFD_CLOEXEC)
        try:
            os.write(fd, endpoint.certificate + b"\n" + endpoint.key)
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
    return context


class Connection:
    """Requests to one server over one kept-alive connection."""

    def __init__(self, endpoint: Endpoint, request_timeout_seconds: float = 0.0) -> None:
        self.endpoint = endpoint
        self.namespace = endpoint.namespace
        self._url = urlsplit(endpoint.server)
        self._timeout = request_timeout_seconds or None
        self._socket: socket.socket | None = None
        self._last: Answer | None = None
        self._context: ssl.SSLContext | None = None

    def raw_socket(self) -> socket.socket:
        """A new connected (and TLS-wrapped) socket. Raises: CommandError where no server answers."""
        host = self._url.hostname or "localhost"
        secure = self._url.scheme == "https"
        try:
            sock = socket.create_connection((host, self._url.port or (443 if secure else 80)), CONNECT_TIMEOUT_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                self._context = self._context or tls_context(self.endpoint)
                sock = self._context.wrap_socket(sock, server_hostname=self.endpoint.server_name or host)
        except OSError as error:
            raise self._unreachable(error) from error
        sock.settimeout(self._timeout)
        return sock

    def headers(self, extra: Mapping[str, str]) -> dict[str, str]:
        """What every request carries."""
        headers = {"User-Agent": "carob/v1.36", **self.endpoint.headers, **extra}
        if self.endpoint.token:
            headers["Authorization"] = f"Bearer {self.endpoint.token}"
        return headers

    def target(self, path: str, query: Mapping[str, str | list[str]] | None = None) -> str:
        """The request target: the server's own path prefix, the path, the query."""
        target = self._url.path.rstrip("/") + quote(path, safe="/%:")
        if query:
            target += "?" + urlencode(query, doseq=True)
        return target

    def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | list[str]] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; the answer's body is still to be read. Raises: CommandError where no server answers."""
        target, all_headers = self.target(path, query), self.headers(headers or {})
        for attempt in (0, 1):
            fresh = self._socket is None or self._last is None or not self._last.keep_alive
            if fresh:
                self.close()
                self._socket = self.raw_socket()
            assert self._socket is not None
            try:
                http1.send(self._socket, method, target, self.host_header, all_headers, body)
                self._last = http1.Answer(self._socket)
                return self._last
            except OSError as error:
                self.close()
                # a kept-alive connection may have been closed by the server meanwhile
                if fresh or attempt:
                    raise self._unreachable(error) from error
        raise AssertionError("unreachable")

    def _unreachable(self, error: Exception) -> CommandError:
        if isinstance(error, ConnectionRefusedError):
            return CommandError(
                f"The connection to the server {self._url.netloc} was refused - did you specify the right host or port?"
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            text = f"tls: failed to verify certificate: {error.verify_message}"
            return CommandError(f"Unable to connect to the server: {text}")
        if isinstance(error, TimeoutError):
            return CommandError("Unable to connect to the server: the request timed out")
        return CommandError(f"Unable to connect to the server: {self.endpoint.server}: {error}")

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | list[str]] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The whole answer. Raises: ApiError for any answer that is no success. Warnings go to standard error."""
        answer = self.open(method, path, query, body, headers)
        data = answer.read()
        _warn(answer)
        if answer.status >= 400:
            raise ApiError.from_body(answer.status, data)
        return data

    def json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | list[str]] | None = None,
        body: Any = None,
        *,
        accept: str = JSON_ACCEPT,
        content_type: str = "application/json",
    ) -> Any:
        """As `request`, with trees."""
        headers = {"Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        return decode_json(self.request(method, path, query, data, headers))

    def lines(
        self, path: str, query: Mapping[str, str | list[str]], headers: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """The lines of a streamed answer, as they come: watches. Raises: ApiError."""
        answer = self.open("GET", path, query, None, headers)
        if answer.status >= 400:
            raise ApiError.from_body(answer.status, answer.read())
        try:
            while line := answer.readline():
                yield line
        finally:
            self.close()

    @property
    def host_header(self) -> str:
        return self._url.netloc

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._last = None


def decode_json(data: bytes) -> Any:
    """The tree; a large answer is worth importing the faster decoder."""
    if len(data) > LARGE_BYTES:
        import orjson

        return orjson.loads(data)
    return json.loads(data)


def _warn(answer: Answer) -> None:
    import sys

    for value in answer.warnings:
        text = value.split('"', 1)[1].rsplit('"', 1)[0].replace('\\"', '"') if '"' in value else value
        print(f"Warning: {text}", file=sys.stderr)


def connect(arguments: argparse.Namespace) -> Connection:
    """The connection that the verb's flags name."""
    from carob.cli.durations import parse_duration

    text = arguments.request_timeout
    try:
        timeout = float(text) if text.isdigit() else parse_duration(text)
    except ValueError as error:
        raise CommandError(f"error: --request-timeout: {error}") from error
    return Connection(endpoint_of(arguments), timeout)
