"""A claim of a device, the whole way: a driver offers it, the scheduler gives it to a Pod, its container has it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from clusters import Cluster
from test_node import run

pytestmark = [pytest.mark.root, pytest.mark.slow]
DRIVER = "gpu.e2e"
CDI = Path("/var/run/cdi")


def get(cluster: Cluster, *what: str) -> dict[str, Any]:
    return dict(json.loads(cluster.carob("get", *what, "-o", "json").check().out))


def apply(cluster: Cluster, kind: str, name: str, **fields: Any) -> None:
    tree = {"apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": {"name": name}} | fields
    cluster.carob("apply", "-f", "-", stdin=orjson.dumps(tree).decode()).check()


@pytest.fixture
def driver(cluster: Cluster) -> Iterator[None]:
    """A driver beside the node's kubelet."""
    [registry] = cluster.data_dir.glob("**/plugins_registry")
    there = CDI.exists()
    command = [sys.executable, "-m", "tests.fakes.device_driver", DRIVER, str(registry.parent), str(CDI)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.stdin.close()
    if not there:
        CDI.rmdir()


def test_a_container_has_the_device_that_its_pod_claims(cluster: Cluster, driver: None) -> None:
    node = get(cluster, "nodes")["items"][0]["metadata"]["name"]
    expression = f'device.driver == "{DRIVER}" && device.attributes["{DRIVER}"].color == "red"'
    spec = {"selectors": [{"cel": {"expression": expression}}], "extendedResourceName": "e2e.example.com/red"}
    apply(cluster, "DeviceClass", "red", spec=spec)
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    devices = [{"name": color, "attributes": {"color": {"string": color}}} for color in ("blue", "red")]
    offered = {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": devices}
    apply(cluster, "ResourceSlice", "offered", spec=offered)
    request = {"name": "r", "exactly": {"deviceClassName": "red"}}
    apply(cluster, "ResourceClaimTemplate", "one-red", spec={"spec": {"devices": {"requests": [request]}}})
    wish = [{"name": "card", "resourceClaimTemplateName": "one-red"}]
    shell = run(cluster, "painter", {"resources": {"claims": [{"name": "card"}]}}, resourceClaims=wish)
    [noted] = get(cluster, "pod", "painter")["status"]["resourceClaimStatuses"]
    claim = get(cluster, "resourceclaim", noted["resourceClaimName"])
    [result] = claim["status"]["allocation"]["devices"]["results"]
    assert (result["driver"], result["pool"], result["device"]) == (DRIVER, node, "red")
    assert shell("echo $DEVICE_OF") == claim["metadata"]["name"]
    assert shell("test -c /dev/claimed && echo written > /dev/claimed && echo fine") == "fine"
    files = list(CDI.glob(f"{DRIVER}*"))
    assert files
    cluster.carob("delete", "pod", "painter").check()
    cluster.carob("wait", "--for=delete", f"resourceclaim/{claim['metadata']['name']}", "--timeout=60s").check()
    assert not files[0].exists()
    # the same by the name of a resource, which the node itself does not have
    one = {"e2e.example.com/red": "1"}
    shell = run(cluster, "buyer", {"resources": {"requests": one, "limits": one}})
    noted = get(cluster, "pod", "buyer")["status"]["extendedResourceClaimStatus"]
    assert shell("echo $DEVICE_OF") == noted["resourceClaimName"]
    cluster.carob("delete", "pod", "buyer").check()
    cluster.carob("wait", "--for=delete", f"resourceclaim/{noted['resourceClaimName']}", "--timeout=60s").check()
    for what in ("deviceclass/red", "resourceslice/offered", "resourceclaimtemplate/one-red"):
        cluster.carob("delete", what).check()
