"""`carob debug` makes what kubectl's makes, says what it says, and lets one in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from clusters import WEB_IMAGE, Cluster
from test_node import KUBECTL, manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.slow]

IMAGE = f"--image={WEB_IMAGE}"
PROBE = {"exec": {"command": ["true"]}, "periodSeconds": 60}
# what both are asked; NAME is a name of their own
BESIDE = ("general", "restricted", "sysadmin")
OTHERS = (
    f"debugged {IMAGE} -c dbg --env=A=b --env=C=d --copy-to=NAME -- sleep 1000",
    f"debugged {IMAGE} -c c0 --copy-to=NAME --keep-labels --keep-readiness --share-processes=false --arguments-only -- -f",
    "debugged --copy-to=NAME --set-image=*=busybox --same-node",
    f"node/node-0 {IMAGE} -- sleep 1000",
    f"node/node-0 {IMAGE} --profile=netadmin -c nosy --image-pull-policy=Never",
)
MISTAKES = (
    "",
    "debugged",
    f"debugged {IMAGE} -t",
    f"nope {IMAGE}",
    f"debugged {IMAGE} --target=nope -c x",
    f"debugged {IMAGE} -c c0",
    "debugged --copy-to=x",
    "debugged --copy-to=x -c nope -- sh",
    f"debugged {IMAGE} --copy-to=x --target=c0",
    f"debugged {IMAGE} --same-node",
    f"svc/kubernetes {IMAGE}",
    f"node/nope {IMAGE}",
)


@pytest.fixture(scope="module")
def debugged(cluster: Cluster) -> Iterator[str]:
    pod = manifest("debugged", {"readinessProbe": PROBE, "livenessProbe": PROBE}, initContainers=[])
    cluster.carob("apply", "-f", "-", stdin=pod).check()
    cluster.wait_ready("debugged")
    yield "debugged"
    names = [p["metadata"]["name"] for p in json.loads(cluster.carob("get", "pods", "-o", "json").check().out)["items"]]
    mine = [name for name in names if name.startswith(("debugged", "by-", "node-debugger"))]
    cluster.carob("delete", "pod", "--grace-period=0", "--force", *mine).check()


def pods(cluster: Cluster) -> dict[str, Any]:
    items = json.loads(cluster.carob("get", "pods", "-o", "json").check().out)["items"]
    return {pod["metadata"]["name"]: pod for pod in items}


def both(cluster: Cluster, line: str) -> list[Any]:
    """What kubectl and carob print, with names made equal."""
    out = []
    for by in ("kubectl", "carob"):
        words = line.replace("NAME", f"by-{by}").split()
        done = cluster.kubectl(KUBECTL, "debug", *words) if by == "kubectl" else cluster.carob("debug", *words)
        texts = [re.sub(r"(debugger-)(node-0-)?[a-z0-9]{5}\b", r"\1\2X", t) for t in (done.out, done.err)]
        out.append((done.code, *(t.replace("kubectl debug", "carob debug") for t in texts)))
    return out


def made(tree: dict[str, Any]) -> Any:
    """What of a Pod is compared."""
    spec = {k: v for k, v in tree["spec"].items() if k != "volumes"}
    spec["volumes"] = [v for v in tree["spec"].get("volumes", []) if not v["name"].startswith("kube-api-access")]
    for one in spec["containers"]:
        mounts = one.pop("volumeMounts", [])
        one["volumeMounts"] = [m for m in mounts if not m["name"].startswith("kube-api-access")]
        if "env" in one:
            # kubectl keeps --env in a map, whose order is by chance
            one["env"] = sorted(one["env"], key=lambda variable: str(variable["name"]))
    return spec, tree["metadata"].get("labels"), tree["metadata"].get("annotations")


def test_it_makes_what_kubectl_makes(cluster: Cluster, debugged: str) -> None:
    for profile in BESIDE:
        line = f"debugged {IMAGE} --target=c0 --profile={profile} -c NAME-{profile} -- sleep 1000"
        kubectl, carob = both(cluster, line)
        assert carob == kubectl
    found = {c.pop("name"): c for c in pods(cluster)["debugged"]["spec"]["ephemeralContainers"]}
    for profile in BESIDE:
        assert found[f"by-carob-{profile}"] == found[f"by-kubectl-{profile}"]
    for line in OTHERS:
        before = set(pods(cluster))
        kubectl, carob = both(cluster, line)
        assert carob == kubectl, line
        after = {name: pod for name, pod in pods(cluster).items() if name not in before}
        assert len(after) == 2, line
        first, second = (made(pod) for pod in after.values())
        for spec, *_ in (first, second):
            spec.pop("nodeName", None)
        assert first == second, line
        cluster.carob("delete", "pod", "--grace-period=0", "--force", *after).check()


def test_it_says_what_kubectl_says(cluster: Cluster, debugged: str) -> None:
    for line in MISTAKES:
        kubectl, carob = both(cluster, line)
        # how many ephemeral containers there are differs by what was asked before
        kubectl, carob = (tuple(re.sub(r"\[\d+\]", "[n]", str(part)) for part in one) for one in (kubectl, carob))
        assert carob == kubectl, line


def test_it_lets_one_in(cluster: Cluster, debugged: str) -> None:
    words = ["debugged", IMAGE, "-q", "-i", "--target=c0", "-c", "inside", "--", "sh", "-c"]
    done = cluster.carob("debug", *words, "read line; echo got $line; cat /proc/1/comm", stdin="a word\n").check()
    assert done.out.splitlines() == ["got a word", "web"]
