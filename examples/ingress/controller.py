"""Keeps an nginx's configuration as the cluster's Ingresses say, and writes into them where they are served.

Runs beside nginx in one Pod: it shares a folder and the process ids with it. Nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import rules
from rules import FOLDER, Cluster, Tree, key_of

ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONFIG, PID = pathlib.Path(FOLDER, "nginx.conf"), pathlib.Path(FOLDER, "nginx.pid")
NGINX = "/usr/sbin/nginx"
WATCH_SECONDS, LOOK_SECONDS, AGAIN_SECONDS, CALM_SECONDS = 300, 10.0, 1.0, 0.05
NETWORKING = "/apis/networking.k8s.io/v1"
RESOURCES = {
    "ingresses": f"{NETWORKING}/ingresses",
    "classes": f"{NETWORKING}/ingressclasses",
    "services": "/api/v1/services",
    "slices": "/apis/discovery.k8s.io/v1/endpointslices",
    "secrets": "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Ftls",
}


class Api:
    """The API server, as a Pod finds it."""

    def __init__(self) -> None:
        self._host, self._port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        self._tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))

    def ask(self, method: str, path: str, body: Tree | None = None) -> http.client.HTTPResponse:
        """The answer, its body still to be read. Raises: OSError, HTTPException."""
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=WATCH_SECONDS + 30, context=self._tls)
        # the token is renewed in its file
        headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {answer.read(500).decode()}")
        return answer


class State:
    """What is known of the cluster, and whether somebody should look again."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self._changed = threading.Condition()
        self._missing = set(RESOURCES)
        self._dirty = False

    def put_all(self, kind: str, objects: dict[str, Tree]) -> None:
        """These are all that there are."""
        with self._changed:
            setattr(self.cluster, kind, objects)
            self._missing.discard(kind)
            self._touch()

    def put(self, kind: str, event: Tree) -> None:
        """One has come, changed or gone."""
        with self._changed:
            # whoever reads goes on with the old dict
            objects = dict(getattr(self.cluster, kind))
            if event["type"] == "DELETED":
                objects.pop(key_of(event["object"]), None)
            else:
                objects[key_of(event["object"])] = event["object"]
            setattr(self.cluster, kind, objects)
            self._touch()

    def _touch(self) -> None:
        self._dirty = True
        self._changed.notify()

    def wait(self, seconds: float) -> Cluster:
        """The cluster, once everything is known, when something has changed or after this time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._missing)
            self._changed.wait_for(lambda: self._dirty, seconds)
            self._dirty = False
            return Cluster(**vars(self.cluster))


def follow(api: Api, state: State, kind: str) -> None:
    """List, then watch, for ever."""
    path = RESOURCES[kind]
    mark = "&" if "?" in path else "?"
    while True:
        try:
            with api.ask("GET", path) as answer:
                found = json.load(answer)
            state.put_all(kind, {key_of(one): one for one in found["items"]})
            version = found["metadata"]["resourceVersion"]
            while True:
                since = f"resourceVersion={version}&allowWatchBookmarks=1&timeoutSeconds={WATCH_SECONDS}"
                with api.ask("GET", f"{path}{mark}watch=1&{since}") as answer:
                    for line in answer:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise OSError(event["object"].get("message"))
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            state.put(kind, event)
        except (OSError, http.client.HTTPException, ValueError) as error:
            say(f"{kind}: {error}; again")
            time.sleep(AGAIN_SECONDS)


def usable(certificate: bytes, key: bytes) -> bool:
    """Whether they belong together: one that does not would keep nginx from any new configuration."""
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file.name, password="")
        except (ssl.SSLError, ValueError, OSError) as error:
            say(f"a certificate is left out: {error}")
            return False
    return True


def configure(wanted: rules.Wanted) -> bool:
    """Lay the configuration where nginx finds it, if nginx likes it; whether it does."""
    for path, content in wanted.files.items():
        file = pathlib.Path(path)
        file.parent.mkdir(exist_ok=True)
        file.touch(0o600)
        file.write_bytes(content)
    new = CONFIG.with_suffix(".new")
    new.write_text(wanted.config)
    tried = subprocess.run([NGINX, "-e", "stderr", "-t", "-q", "-c", str(new)], capture_output=True, text=True)
    if tried.returncode:
        say(f"nginx refuses the configuration: {tried.stderr.strip()}")
        return False
    new.rename(CONFIG)
    return True


def nginx() -> int:
    """The process id of nginx; 0 while it does not run."""
    try:
        return int(PID.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def announce(api: Api, cluster: Cluster, publish: str) -> bool:
    """Write into our Ingresses where they are served: where the Service `publish` is; whether all know it now."""
    service = cluster.services.get(publish, {})
    places = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    here = [{key: place[key] for key in ("ip", "hostname") if key in place} for place in places]
    done = True
    for ingress in cluster.ours():
        if ingress.get("status", {}).get("loadBalancer", {}).get("ingress", []) != here:
            meta = ingress["metadata"]
            path = f"{NETWORKING}/namespaces/{meta['namespace']}/ingresses/{meta['name']}/status"
            try:
                api.ask("PATCH", path, {"status": {"loadBalancer": {"ingress": here}}}).close()
            except (OSError, http.client.HTTPException) as error:
                say(str(error))
                done = False
    return done


def say(text: str) -> None:
    """A line of the container's log."""
    print(text, flush=True)


def main() -> None:
    """Argument: `namespace/name` of the Service by which the world reaches nginx."""
    api, state, publish = Api(), State(), sys.argv[1]
    for kind in RESOURCES:
        threading.Thread(target=follow, args=(api, state, kind), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    served, told, pause = None, 0, LOOK_SECONDS
    while True:
        cluster = state.wait(pause)
        wanted = rules.render(cluster, usable)
        if wanted != served and configure(wanted):
            served, told = wanted, 0
            say(f"serving {len(cluster.ours())} Ingresses")
        # an nginx that begins, or begins again, may have read the configuration before
        if nginx() not in (0, told):
            told = nginx()
            with contextlib.suppress(ProcessLookupError):
                os.kill(told, signal.SIGHUP)
        pause = LOOK_SECONDS if announce(api, cluster, publish) else AGAIN_SECONDS
        time.sleep(CALM_SECONDS)  # changes often come several at a time


if __name__ == "__main__":
    main()
