"""What a client can do wrong over real sockets: a clear answer with the field's name, never a 5xx, a hang or a trace."""

from __future__ import annotations

import json
import shutil
import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from carob.base.layout import Cluster as Layout

if TYPE_CHECKING:
    from pathlib import Path

    from clusters import Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]


class Raw:
    """Requests with the cluster's admin certificate, answers with their status."""

    def __init__(self, cluster: Cluster) -> None:
        self.layout = Layout.load(cluster.data_dir / cluster.name / "cluster.json")
        self.url = f"https://127.0.0.1:{self.layout.api_port}"
        self.tls = ssl.create_default_context(cafile=str(self.layout.pki_dir / "ca.crt"))
        self.tls.load_cert_chain(str(self.layout.pki_dir / "admin.crt"), str(self.layout.pki_dir / "admin.key"))

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(self.url + path, body, method=method, headers=dict(headers))
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text[:1] == b"{" else text.decode()


@pytest.fixture
def raw(cluster: Cluster) -> Raw:
    return Raw(cluster)


PODS = "/api/v1/namespaces/default/pods"


@pytest.mark.parametrize(
    ("manifest", "status", "words"),
    [
        (b"{", 400, ""),
        (b"[]", 400, ""),
        (b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"},"spec":{}}', 422, "spec.containers: Required value"),
        (
            b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"X_"},"spec":{"containers":[{"name":"c","image":"i"}]}}',
            422,
            'metadata.name: Invalid value: "X_"',
        ),
        (
            b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i",'
            b'"resources":{"limits":{"memory":"12Q"}}}]}}',
            400,
            "quantities must match the regular expression",
        ),
        (
            b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"},"spec":{"containers":"none"}}',
            400,
            "",
        ),
        (
            b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","namespace":"other"},"spec":{"containers":[]}}',
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
    ],
)
def test_broken_manifests(raw: Raw, manifest: bytes, status: int, words: str) -> None:
    code, answer = raw.ask("POST", PODS, manifest, **{"Content-Type": "application/json"})
    assert code == status, answer
    assert answer["kind"] == "Status"
    assert words in answer["message"]


def test_a_body_over_three_mebibytes(raw: Raw) -> None:
    body = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"big"},"data":{"a":"' + b"x" * (3 << 20) + b'"}}'
    code, answer = raw.ask(
        "POST", "/api/v1/namespaces/default/configmaps", body, **{"Content-Type": "application/json"}
    )
    assert code == 413
    assert "limit is 3145728" in answer["message"]


def test_a_stale_resource_version(raw: Raw) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    tree = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "stale"}, "data": {"a": "1"}}
    headers = {"Content-Type": "application/json"}
    code, made = raw.ask("POST", path, json.dumps(tree).encode(), **headers)
    assert code == 201
    made["data"]["a"] = "2"
    assert raw.ask("PUT", f"{path}/stale", json.dumps(made).encode(), **headers)[0] == 200
    code, answer = raw.ask("PUT", f"{path}/stale", json.dumps(made).encode(), **headers)
    assert (code, answer["reason"]) == (409, "Conflict")
    assert "the object has been modified" in answer["message"]
    assert raw.ask("DELETE", f"{path}/stale")[0] == 200


def test_unknown_fields_are_named(raw: Raw) -> None:
    body = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"odd"},"dota":{}}'
    path = "/api/v1/namespaces/default/configmaps?fieldValidation=Strict"
    code, answer = raw.ask("POST", path, body, **{"Content-Type": "application/json"})
    assert code == 400
    assert 'unknown field "dota"' in answer["message"]


def test_a_foreign_certificate_is_refused(raw: Raw, cluster: Cluster, tmp_path: Path) -> None:
    from carob.apiserver.pki import PkiOptions, ensure_pki

    foreign = ensure_pki(tmp_path / "pki", PkiOptions(), 1_700_000_000.0)
    tls = ssl.create_default_context(cafile=str(raw.layout.pki_dir / "ca.crt"))
    tls.load_cert_chain(str(foreign.admin.certificate), str(foreign.admin.key))
    with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError, urllib.error.HTTPError)):
        urllib.request.urlopen(raw.url + PODS, context=tls, timeout=10)


def test_no_certificate_means_anonymous(raw: Raw) -> None:
    tls = ssl.create_default_context(cafile=str(raw.layout.pki_dir / "ca.crt"))
    with urllib.request.urlopen(raw.url + "/version", context=tls, timeout=10) as answer:
        assert json.loads(answer.read())["major"] == "1"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(raw.url + PODS, context=tls, timeout=10)
    with refused.value as error:
        assert error.code == 403
        assert 'User "system:anonymous" cannot list resource "pods"' in json.loads(error.read())["message"]


def test_a_corrupt_image_archive(cluster: Cluster, tmp_path: Path) -> None:
    before = cluster.carob("image", "ls").check().out
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"this is no archive" * 100)
    done = cluster.carob("image", "load", broken)
    assert done.code == 1
    assert done.err.strip()
    assert "Traceback" not in done.err
    assert cluster.carob("image", "ls").check().out == before


def test_a_wrong_manifest_file(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yml"
    file.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: i, imege: j}]}\n"
    )
    for done in (cluster.carob("apply", "-f", file), cluster.kubectl("1.37", "apply", "-f", file)):
        assert done.code == 1
        assert 'unknown field "spec.containers[0].imege"' in done.err
    file.write_text("a: [1, 2\n")
    done = cluster.carob("apply", "-f", file)
    assert done.code == 1
    assert "error converting YAML to JSON" in done.err


def test_an_image_made_of_a_folder(cluster: Cluster, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    command = '["/bin/busybox", "sleep", "3600"]'
    cluster.carob("image", "build", "-t", "carob.local/folder:v1", "--cmd", command, root).check()
    pod = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: folder}\nspec:\n  terminationGracePeriodSeconds: 0\n"
        "  containers: [{name: c, image: 'carob.local/folder:v1'}]\n"
    )
    cluster.carob("apply", "-f", "-", stdin=pod).check()
    cluster.wait_ready("folder")
    used = cluster.carob("image", "rm", "carob.local/folder:v1")
    assert used.code == 1
    cluster.carob("delete", "pod", "folder").check()
    # the Pod is gone when its processes are; the node clears its containers away a moment later
    deadline = time.monotonic() + 60
    while (done := cluster.carob("image", "rm", "carob.local/folder:v1")).code and time.monotonic() < deadline:
        assert "is in use by container" in done.err
        time.sleep(0.1)
    done.check()
