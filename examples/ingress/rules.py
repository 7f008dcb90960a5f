"""What an nginx has to be told so that it serves Ingresses: a pure function of the cluster's objects.

Objects are dicts, as the API gives them. Of two rules for one host and path the older Ingress's counts. Source: Kubernetes
documentation, "Ingress" (path types, wildcards, default backends).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Tree = dict[str, Any]
CONTROLLER = "carob.local/nginx"
HTTP_PORT, HTTPS_PORT, HEALTH_PORT = 8080, 8443, 8081
FOLDER = "/conf"

_HEAD = f"""worker_processes auto;
worker_shutdown_timeout 10s;
pid {FOLDER}/nginx.pid;
error_log stderr warn;
events {{
  worker_connections 4096;
}}
http {{
  access_log off;
  server_tokens off;
  server_names_hash_bucket_size 256;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  map $http_upgrade $connection_upgrade {{
    default upgrade;
    '' '';
  }}
  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $connection_upgrade;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Proto $scheme;
  server {{
    listen {HEALTH_PORT};
    return 200;
  }}
"""


class Rule(NamedTuple):
    """Which requests of a host: exactly this path, or all whose path begins with these elements (no slash at the end)."""

    exact: bool
    path: str


@dataclass
class Host:
    """What is served under a name; the empty name stands for all that have no rules of their own."""

    backends: dict[Rule, str] = field(default_factory=dict)
    """The upstream of each rule; empty: nobody is there."""
    default: str | None = None
    """The upstream of what no rule is for; None: what the empty name says."""

    def backend(self, path: str) -> str | None:
        """The upstream of a path; None: no rule is for it."""
        fitting = [rule for rule in self.backends if not rule.exact and (path + "/").startswith(rule.path + "/")]
        best = max(fitting, key=lambda rule: len(rule.path), default=Rule(True, path))
        return self.backends.get(Rule(True, path), self.backends.get(best))


@dataclass
class Cluster:
    """The objects that matter, each kind by `namespace/name` (the name alone where there are no namespaces)."""

    ingresses: dict[str, Tree] = field(default_factory=dict)
    classes: dict[str, Tree] = field(default_factory=dict)
    services: dict[str, Tree] = field(default_factory=dict)
    slices: dict[str, Tree] = field(default_factory=dict)
    secrets: dict[str, Tree] = field(default_factory=dict)

    def ours(self) -> list[Tree]:
        """The Ingresses of a class that is ours, the oldest first."""
        classes = {name for name, one in self.classes.items() if one["spec"].get("controller") == CONTROLLER}
        found = [one for one in self.ingresses.values() if one["spec"].get("ingressClassName") in classes]
        return sorted(found, key=lambda one: (one["metadata"]["creationTimestamp"], key_of(one)))

    def endpoints(self, namespace: str, service: Tree, port: Tree) -> list[str]:
        """Where a Service's port leads: `address:port` of every endpoint that is ready."""
        found = set()
        for one in self.slices.values():
            meta = one["metadata"]
            if (meta["namespace"], meta.get("labels", {}).get("kubernetes.io/service-name")) != (
                namespace,
                service["metadata"]["name"],
            ):
                continue
            numbers = [p["port"] for p in one.get("ports") or () if p.get("name", "") == port.get("name", "")]
            ready = [e for e in one.get("endpoints") or () if e.get("conditions", {}).get("ready", True)]
            addresses = [address for endpoint in ready for address in endpoint["addresses"]]
            shown = [f"[{address}]" if ":" in address else address for address in addresses]
            found |= {f"{address}:{number}" for address in shown for number in numbers}
        return sorted(found)


class Wanted(NamedTuple):
    """The configuration, and the files it names, by path."""

    config: str
    files: dict[str, bytes]


def key_of(obj: Tree) -> str:
    """`namespace/name`, or the name."""
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def render(cluster: Cluster, usable: Callable[[bytes, bytes], bool]) -> Wanted:
    """Everything that nginx needs; `usable` says of a certificate and its key whether they are what they should be."""
    upstreams: dict[str, list[str]] = {}
    hosts: dict[str, Host] = {"": Host()}
    certificates: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for ingress in cluster.ours():
        namespace, spec = ingress["metadata"]["namespace"], ingress["spec"]
        default = _upstream(cluster, namespace, spec.get("defaultBackend"), upstreams)
        for rule in spec.get("rules") or [{}]:
            host = hosts.setdefault(rule.get("host", ""), Host())
            for path in rule.get("http", {}).get("paths", ()):
                backend = _upstream(cluster, namespace, path["backend"], upstreams)
                host.backends.setdefault(_rule(path), backend or "")
            if host.default is None:
                host.default = default
        for tls in spec.get("tls") or ():
            file = _certificate(cluster, f"{namespace}/{tls.get('secretName', '')}", usable, files)
            for name in tls.get("hosts") or ("",) if file else ():
                certificates.setdefault(name, file)
    lines = [_HEAD]
    for name, endpoints in upstreams.items():
        lines += [_block(f"upstream {name}", [f"server {one};" for one in endpoints])] if endpoints else []
    lines += [_server(name, hosts, certificates) for name in sorted(hosts)]
    return Wanted("".join(lines) + "}\n", files)


def _rule(path: Tree) -> Rule:
    text = path.get("path") or "/"
    return Rule(True, text) if path["pathType"] == "Exact" else Rule(False, text.rstrip("/"))


def _upstream(cluster: Cluster, namespace: str, backend: Tree | None, upstreams: dict[str, list[str]]) -> str | None:
    """The upstream of a backend, which is noted; empty when nobody is there; None when there is no backend."""
    if backend is None:
        return None
    wanted = backend.get("service", {})
    service = cluster.services.get(f"{namespace}/{wanted.get('name', '')}")
    asked = wanted.get("port", {})
    for port in service["spec"].get("ports") or () if service else ():
        if asked.get("number") == port["port"] or (asked.get("name") and asked["name"] == port.get("name")):
            assert service is not None
            name = f"{namespace}.{wanted['name']}.{port['port']}"
            upstreams[name] = cluster.endpoints(namespace, service, port)
            return name if upstreams[name] else ""
    return ""


def _certificate(cluster: Cluster, secret: str, usable: Callable[[bytes, bytes], bool], files: dict[str, bytes]) -> str:
    """The file with a Secret's certificate and key, which is noted; empty when there is none, or it is none."""
    data = cluster.secrets.get(secret, {}).get("data") or {}
    try:
        certificate, key = (base64.b64decode(data[name], validate=True) for name in ("tls.crt", "tls.key"))
    except (KeyError, ValueError):
        return ""
    if not usable(certificate, key):
        return ""
    content = certificate.rstrip() + b"\n" + key
    path = f"{FOLDER}/tls/{hashlib.sha256(content).hexdigest()[:32]}.pem"
    files[path] = content
    return path


def _server(name: str, hosts: dict[str, Host], certificates: dict[str, str]) -> str:
    """A host by its name. A star is one label; nginx's own stars are several, but exact names come first there too."""
    last = " default_server" if not name else ""
    lines = [f"listen {HTTP_PORT}{last};"]
    if not name:
        lines += ["server_name _;"]
    elif name.startswith("*."):
        lines += [f'server_name "~^[^.]+{name[1:].replace(".", "[.]")}$";']
    else:
        lines += [f"server_name {name};"]
    certificate = certificates.get(name) or certificates.get("*." + name.partition(".")[2]) or certificates.get("")
    if certificate:
        lines += [f"listen {HTTPS_PORT} ssl{last};", f"ssl_certificate {certificate};"]
        lines += [f"ssl_certificate_key {certificate};"]
    elif not name:
        lines += [f"listen {HTTPS_PORT} ssl{last};", "ssl_reject_handshake on;"]
    return _block("server", lines + list(_locations(hosts[name], hosts[""].default)))


def _locations(host: Host, otherwise: str | None) -> Iterable[str]:
    """nginx takes an exact path first, then the longest beginning: as Ingress wants it."""
    default = otherwise if host.default is None else host.default
    exact = {rule.path for rule in host.backends if rule.exact}
    begins = {rule.path: backend for rule, backend in host.backends.items() if not rule.exact}
    # a beginning is also a path; and nginx would answer /a with a redirect where only /a/ is known
    for path in sorted((exact | begins.keys() | {path.rstrip("/") for path in exact}) - {""}):
        backend = host.backend(path)
        yield _location(f"= {_quoted(path)}", default if backend is None else backend)
    for path, backend in sorted(({"": default} | begins).items()):
        yield _location(_quoted(path + "/"), backend)


def _location(where: str, backend: str | None) -> str:
    does = "return 404;" if backend is None else f"proxy_pass http://{backend};" if backend else "return 503;"
    return _block(f"location {where}", [does])


def _quoted(text: str) -> str:
    """As one word of the configuration, whatever is in it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _block(head: str, lines: Iterable[str]) -> str:
    inner = "\n".join(lines).rstrip("\n").replace("\n", "\n  ")
    return f"{head} {{\n  {inner}\n}}\n"
