"""Pods whose images lie in a registry that asks who wants them: secrets of the Pod, of its account, wrong ones, none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from registries import Registry, layer, start_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clusters import Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]
SPACE = "private-images"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from start_registry(tmp_path_factory.mktemp("registry") / "private", private=True)


@pytest.fixture
def space(cluster: Cluster, registry: Registry) -> Iterator[Cluster]:
    cluster.carob("create", "namespace", SPACE).check()
    for name, password in (("right", "secret"), ("wrong", "bad")):
        flags = (f"--docker-server={registry.address}", "--docker-username=carob", f"--docker-password={password}")
        cluster.carob("create", "secret", "docker-registry", name, "-n", SPACE, *flags).check()
    cluster.carob("create", "serviceaccount", "puller", "-n", SPACE).check()
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller", "namespace": SPACE}}
    cluster.carob("apply", "-f", "-", stdin=json.dumps(account | {"imagePullSecrets": [{"name": "right"}]})).check()
    yield cluster
    cluster.carob("delete", "namespace", SPACE).check()


def run(cluster: Cluster, name: str, image: str, secrets: list[str], policy: str = "IfNotPresent", **spec: Any) -> None:
    container = {"name": "c", "image": image, "imagePullPolicy": policy, "command": ["/bin/sh", "-c", "exec sleep 600"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "imagePullSecrets": [{"name": one} for one in secrets],
            "containers": [container],
            **spec,
        },
    }
    cluster.carob("apply", "-f", "-", stdin=json.dumps(pod)).check()


def wait(cluster: Cluster, name: str, path: str, value: str) -> None:
    what = f"--for=jsonpath={{{path}}}={value}"
    cluster.carob("wait", "-n", SPACE, what, f"pod/{name}", "--timeout=60s", timeout=90).check()


def waits(cluster: Cluster, name: str, reason: str) -> None:
    wait(cluster, name, ".status.containerStatuses[0].state.waiting.reason", reason)


def test_who_may_run_a_private_image(space: Cluster, registry: Registry) -> None:
    """Source: test/e2e/common/node/runtime.go, image_credential_pulls.go (KEP-2535)."""
    busybox = layer({"bin/sh": Path("/bin/busybox").read_bytes()}, mode=0o755)
    registry.push("team/app:v1", [busybox], user="carob:secret")
    image = f"{registry.address}/team/app:v1"

    run(space, "nothing", image, [])
    run(space, "wrong", image, ["wrong"])
    waits(space, "nothing", "ImagePullBackOff")
    waits(space, "wrong", "ImagePullBackOff")
    told = space.carob("get", "pod", "wrong", "-n", SPACE, "-o", "jsonpath={.status.containerStatuses[0].state}").out
    assert "pull access denied, repository does not exist or may require authorization" in told, told

    run(space, "by-account", image, [], serviceAccountName="puller")
    space.wait_ready("by-account", namespace=SPACE)
    run(space, "by-pod", image, ["wrong", "right"])
    space.wait_ready("by-pod", namespace=SPACE)

    # the image is on the node by now, which is no reason to give it to everybody
    run(space, "thief", image, [])
    waits(space, "thief", "ImagePullBackOff")
    run(space, "bold-thief", image, [], policy="Never")
    waits(space, "bold-thief", "ErrImageNeverPull")
