"""What a Pod's spec says happens on the node: real containers, looked at from inside."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from clusters import WEB_IMAGE, Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]

KUBECTL = "1.37"


def manifest(name: str, *containers: dict[str, Any], **spec: Any) -> str:
    """A Pod whose containers run the web image unless they say otherwise."""
    made = [{"name": f"c{i}", "image": WEB_IMAGE} | fields for i, fields in enumerate(containers or ({},))]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": made} | spec,
    }
    return orjson.dumps(pod).decode()


def run(cluster: Cluster, name: str, *containers: dict[str, Any], **spec: Any) -> Callable[..., str]:
    """Start the Pod, wait until it is ready; the answer runs shell lines in its first container."""
    cluster.carob("apply", "-f", "-", stdin=manifest(name, *containers, **spec)).check()
    cluster.wait_ready(name)
    first = containers[0].get("name", "c0") if containers else "c0"

    def shell(line: str, container: str = first) -> str:
        return cluster.kubectl(KUBECTL, "exec", name, "-c", container, "--", "sh", "-c", line).check().out.strip()

    return shell


def status_of(cluster: Cluster, name: str) -> dict[str, Any]:
    return dict(json.loads(cluster.carob("get", "pod", name, "-o", "json").check().out)["status"])


@pytest.fixture
def gone(cluster: Cluster) -> Any:
    """Deletes what a test has made."""
    names: list[str] = []
    yield names.append
    for name in names:
        cluster.carob("delete", name.split("/")[0], name.split("/")[1], "--ignore-not-found").check()


def test_processes_names_and_users(cluster: Cluster, gone: Any) -> None:
    gone("pod/shared")
    shell = run(
        cluster,
        "shared",
        {
            "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
            "command": ["sleep", "3600"],
            "volumeMounts": [{"name": "e", "mountPath": "/e"}],
        },
        {"command": ["sleep", "3601"]},
        shareProcessNamespace=True,
        hostname="myhost",
        subdomain="sub",
        setHostnameAsFQDN=True,
        hostAliases=[{"ip": "192.0.2.7", "hostnames": ["alias.local"]}],
        securityContext={"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000, "supplementalGroups": [3000]},
        volumes=[{"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}],
    )
    assert shell("id -u; id -G").split() == ["1000", "1000", "2000", "3000"]
    processes = shell("ps -o args")
    assert "sleep 3601" in processes
    assert "catatonit" in processes.splitlines()[1]
    assert shell("hostname") == "myhost.sub.default.svc.cluster.local"
    assert "192.0.2.7\talias.local" in shell("cat /etc/hosts")
    assert shell("touch /new 2>&1 || true").endswith("Read-only file system")
    assert "8.0M" in shell("df -h /e")
    assert shell("touch /e/file; stat -c %g /e/file") == "2000"
    assert shell("grep CapEff /proc/self/status").split()[1] == "0" * 16


def test_environment_and_files_of_config_maps_and_secrets(cluster: Cluster, gone: Any) -> None:
    for name in ("pod/configured", "configmap/colors", "secret/words"):
        gone(name)
    cluster.carob(
        "apply",
        "-f",
        "-",
        stdin='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"colors"},"data":{"a":"blue"}}',
    ).check()
    cluster.carob(
        "apply",
        "-f",
        "-",
        stdin='{"apiVersion":"v1","kind":"Secret","metadata":{"name":"words"},"stringData":{"p":"s3"}}',
    ).check()
    token = {"path": "token", "audience": "somebody", "expirationSeconds": 600}
    shell = run(
        cluster,
        "configured",
        {
            "env": [
                {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "colors", "key": "a"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "ALL", "value": "$(COLOR)@$(IP)"},
                {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            ],
            "envFrom": [{"prefix": "W_", "secretRef": {"name": "words"}}],
            "resources": {"limits": {"memory": "64Mi"}},
            "volumeMounts": [{"name": "c", "mountPath": "/c"}, {"name": "p", "mountPath": "/p"}],
        },
        volumes=[
            {"name": "c", "configMap": {"name": "colors"}},
            {
                "name": "p",
                "projected": {
                    "sources": [
                        {"secret": {"name": "words", "items": [{"key": "p", "path": "deep/word", "mode": 0o400}]}},
                        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                        {"serviceAccountToken": token},
                    ]
                },
            },
        ],
    )
    address = status_of(cluster, "configured")["podIP"]
    assert shell("echo $ALL $LIMIT $W_p") == f"blue@{address} 64 s3"
    assert shell("echo $KUBERNETES_SERVICE_PORT") == "443"
    assert shell("cat /c/a /p/deep/word /p/labels") == 'blues3app="configured"'
    payload = shell("cat /p/token").split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims["aud"] == ["somebody"]
    assert claims["kubernetes.io"]["pod"]["name"] == "configured"
    assert shell("touch /c/x 2>&1 || true").endswith("Read-only file system")

    # a running Pod sees a change within seconds
    cluster.carob(
        "apply",
        "-f",
        "-",
        stdin='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"colors"},"data":{"a":"red"}}',
    ).check()
    deadline = time.monotonic() + 60
    while shell("cat /c/a") != "red":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_parts_of_volumes_and_paths_of_the_node(cluster: Cluster, gone: Any, tmp_path: Any) -> None:
    gone("pod/parts")
    (tmp_path / "file").write_text("of the node\n")
    shell = run(
        cluster,
        "parts",
        {
            "volumeMounts": [
                {"name": "e", "mountPath": "/whole"},
                {"name": "e", "mountPath": "/part", "subPath": "a/b"},
                {"name": "e", "mountPath": "/named", "subPathExpr": "$(NAME)"},
                {"name": "h", "mountPath": "/node", "readOnly": True},
            ],
            "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        },
        volumes=[
            {"name": "e", "emptyDir": {}},
            {"name": "h", "hostPath": {"path": str(tmp_path), "type": "Directory"}},
        ],
    )
    assert shell("echo x > /part/file; cat /whole/a/b/file") == "x"
    assert shell("ls /whole") == "a\nparts"
    assert shell("cat /node/file") == "of the node"
    assert "Read-only" in shell("touch /node/x 2>&1 || true")


def test_the_nodes_own_network_and_a_port_of_the_node(cluster: Cluster, gone: Any) -> None:
    gone("pod/outside")
    shell = run(cluster, "outside", {"command": ["sleep", "3600"]}, hostNetwork=True, hostPID=True)
    status = status_of(cluster, "outside")
    assert status["podIP"] == status["hostIP"]
    assert int(shell("ps | wc -l")) > 5
    assert shell("head -1 /etc/hosts") == "# Kubernetes-managed hosts file (host network)."


def test_init_containers_and_a_sidecar(cluster: Cluster, gone: Any) -> None:
    gone("pod/staged")
    written = {"volumeName": "w", "path": "e", "key": "HELLO"}
    work = {"volumeMounts": [{"name": "w", "mountPath": "/w"}], "image": WEB_IMAGE}
    shell = run(
        cluster,
        "staged",
        {"command": ["sleep", "3600"], "env": [{"name": "GREETING", "valueFrom": {"fileKeyRef": written}}], **work},
        initContainers=[
            {"name": "first", "command": ["sh", "-c", "echo first >> /w/order; echo HELLO=\\'a b\\' > /w/e"], **work},
            {
                "name": "side",
                "restartPolicy": "Always",
                "command": ["sh", "-c", "echo side >> /w/order; sleep 3600"],
                "startupProbe": {"exec": {"command": ["grep", "side", "/w/order"]}, "periodSeconds": 1},
                **work,
            },
            {"name": "last", "command": ["sh", "-c", "echo last >> /w/order"], **work},
        ],
        volumes=[{"name": "w", "emptyDir": {}}],
    )
    assert shell("cat /w/order") == "first\nside\nlast"
    assert shell("echo $GREETING") == "a b", "what an init container wrote into a file of variables"
    states = status_of(cluster, "staged")["initContainerStatuses"]
    assert [s["name"] for s in states if s["ready"]] == ["first", "side", "last"]


def test_probes_decide_over_traffic_and_life(cluster: Cluster, gone: Any) -> None:
    gone("pod/probed")
    shell = run(
        cluster,
        "probed",
        {
            "readinessProbe": {
                "httpGet": {"path": "/", "port": 8080},
                "periodSeconds": 1,
                "failureThreshold": 1,
                "timeoutSeconds": 30,
            },
            "livenessProbe": {
                "exec": {"command": ["test", "!", "-e", "/tmp/ill"]},
                "periodSeconds": 1,
                "failureThreshold": 1,
            },
        },
    )
    shell("mkdir -p /tmp; touch /tmp/ill")
    cluster.wait_for(".status.containerStatuses[0].restartCount", "1", "pod/probed")
    cluster.wait_ready("probed")


def test_last_words_and_hooks(cluster: Cluster, gone: Any) -> None:
    gone("pod/words")
    words: list[dict[str, Any]] = [
        {"command": ["sh", "-c", "echo logged; exit 3"], "terminationMessagePolicy": "FallbackToLogsOnError"},
        {"command": ["sh", "-c", "echo -n written > /dev/termination-log"]},
    ]
    cluster.carob("apply", "-f", "-", stdin=manifest("words", *words, restartPolicy="Never")).check()
    cluster.wait_for(".status.phase", "Failed", "pod/words")
    ends = [s["state"]["terminated"] for s in status_of(cluster, "words")["containerStatuses"]]
    assert [(e["reason"], e["exitCode"], e["message"]) for e in ends] == [
        ("Error", 3, "logged\n"),
        ("Completed", 0, "written"),
    ]


def test_a_debug_container_sees_its_target(cluster: Cluster, gone: Any) -> None:
    gone("pod/target")
    run(cluster, "target", {"command": ["sleep", "3600"]})
    done = cluster.kubectl(
        KUBECTL, "debug", "target", "--image", WEB_IMAGE, "--image-pull-policy=Never", "--target=c0", "-c", "dbg",
        "--profile=general", "--", "sh", "-c", "ps -o args; sleep 3600",
    )  # fmt: skip
    done.check()
    cluster.wait_for(".status.ephemeralContainerStatuses[0].started", "true", "pod/target")
    deadline = time.monotonic() + 60
    while "sleep 3600" not in cluster.carob("logs", "target", "-c", "dbg").out.split("sh -c")[0]:
        assert time.monotonic() < deadline, cluster.carob("logs", "target", "-c", "dbg").out
        time.sleep(0.1)


def test_a_stubborn_process_is_killed_after_its_grace_period(cluster: Cluster) -> None:
    run(cluster, "stubborn", {"command": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]})
    began = time.monotonic()
    cluster.kubectl(KUBECTL, "delete", "pod", "stubborn", "--grace-period=2").check()
    assert 1.9 < time.monotonic() - began < 10


def test_a_seccomp_profile_of_the_node_is_obeyed(cluster: Cluster, gone: Any) -> None:
    folder = next(cluster.data_dir.rglob("kubelet")) / "seccomp" / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]
    (folder / "no-folders.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    gone("pod/filtered")
    profile = {"type": "Localhost", "localhostProfile": "mine/no-folders.json"}
    shell = run(cluster, "filtered", securityContext={"seccompProfile": profile})
    assert shell("touch /tmp/file; mkdir /tmp/folder 2>&1 || ls /tmp").splitlines() == [
        "mkdir: can't create directory '/tmp/folder': Operation not permitted",
        "file",
    ]


def test_the_nodes_statistics(cluster: Cluster, gone: Any) -> None:
    gone("pod/counted")
    run(cluster, "counted")
    text = cluster.kubectl(KUBECTL, "get", "--raw", "/api/v1/nodes/node-0/proxy/stats/summary").check().out
    pods = {pod["podRef"]["name"]: pod for pod in json.loads(text)["pods"]}
    assert pods["counted"]["memory"]["workingSetBytes"] > 0
    assert pods["counted"]["network"]["name"] == "eth0"
    own, containers = pods["counted"]["process_stats"]["process_count"], pods["counted"]["containers"]
    assert own > len(containers), "the pause process counts too"
    page = cluster.kubectl(KUBECTL, "get", "--raw", "/api/v1/nodes/node-0/proxy/metrics/cadvisor").check().out
    received = [line for line in page.splitlines() if line.startswith("container_network_receive_bytes_total{")]
    assert any('pod="counted"' in line and 'interface="eth0"' in line for line in received)
    metrics = cluster.kubectl(KUBECTL, "get", "--raw", "/api/v1/nodes/node-0/proxy/metrics/resource").check().out
    assert 'container_memory_working_set_bytes{container="c0",namespace="default",pod="counted"}' in metrics
    end = time.monotonic() + 60
    while "NotFound" in cluster.kubectl(KUBECTL, "top", "pod", "counted").err:
        assert time.monotonic() < end, "a Pod that runs is never measured"
    top = cluster.kubectl(KUBECTL, "top", "pod", "counted", "--containers").check().out.splitlines()
    assert top[0].split() == ["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert top[1].split()[:2] == ["counted", "c0"]
    node = cluster.kubectl(KUBECTL, "top", "node").check().out.splitlines()
    assert node[1].split()[0] == "node-0"
    assert node[1].split()[-1].endswith("%")


TOP = """\
pod counted --containers
pod -A -l app=counted --sum
pod -l app=nobody
pod counted --show-swap --no-headers
pod none
pod counted -l app=counted
pod --sort-by=age
node none
node a b
"""


def test_top_is_kubectls(cluster: Cluster, gone: Any) -> None:
    gone("pod/counted")
    run(cluster, "counted", {"command": ["sleep", "600"]})

    def both(line: str) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
        ours, theirs = cluster.carob("top", *line.split()), cluster.kubectl(KUBECTL, "top", *line.split())
        return (ours.code, ours.out, ours.err), (theirs.code, theirs.out, theirs.err.replace("kubectl", "carob"))

    for line in TOP.splitlines():
        ours, theirs = both(line)
        for _ in range(4):
            # numbers may change between the two; four more tries are enough for one that sleeps
            if ours != theirs:
                ours, theirs = both(line)
        assert ours == theirs


def test_an_autoscaler_sees_the_load(cluster: Cluster, gone: Any) -> None:
    gone("deployment/busy")
    gone("hpa/busy")
    busy = {
        "name": "busy",
        "image": WEB_IMAGE,
        "command": ["sh", "-c", "while :; do :; done"],
        "resources": {"requests": {"cpu": "20m"}, "limits": {"cpu": "50m"}},
    }
    template = {
        "metadata": {"labels": {"app": "busy"}},
        "spec": {"containers": [busy], "terminationGracePeriodSeconds": 0},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "busy"}}, "template": template}
    tree = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "busy"}, "spec": spec}
    cluster.kubectl(KUBECTL, "apply", "-f", "-", stdin=json.dumps(tree)).check()
    cluster.kubectl(KUBECTL, "wait", "--for=condition=Available", "deployment/busy", "--timeout=60s").check()
    # numbers count once their whole window lies behind the Pod's becoming ready; else the next look, 15 s later, sees it
    ready_at = time.monotonic()
    while time.monotonic() < ready_at + 2.5:
        cluster.kubectl(KUBECTL, "top", "pod", "-l", "app=busy")
    cluster.kubectl(KUBECTL, "autoscale", "deployment/busy", "--min=1", "--max=2", "--cpu=50%").check()
    cluster.kubectl(KUBECTL, "wait", "--for=jsonpath={.status.desiredReplicas}=2", "hpa/busy", "--timeout=60s").check()
    cluster.kubectl(
        KUBECTL, "wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/busy", "--timeout=60s"
    ).check()


def test_a_file_on_the_node_is_a_pod_and_rules_of_a_container_count(cluster: Cluster, gone: Any) -> None:
    node = json.loads(cluster.carob("get", "nodes", "-o", "json").check().out)["items"][0]["metadata"]["name"]
    file = next(cluster.data_dir.rglob("manifests")) / "static.json"
    file.write_text(manifest("static"))
    cluster.carob("wait", "--for=create", f"pod/static-{node}", "--timeout=60s").check()
    cluster.wait_ready(f"static-{node}")
    assert "static" in cluster.kubectl(KUBECTL, "exec", f"static-{node}", "--", "hostname").check().out
    # 42 is tried again although the Pod says Never; anything else ends it
    gone("pod/rules")
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    command = ["sh", "-c", "[ -e /v/second ] && exit 3; touch /v/second; exit 42"]
    container = {
        "command": command,
        "restartPolicy": "Never",
        "restartPolicyRules": rules,
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    spec = {"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}]}
    cluster.carob("apply", "-f", "-", stdin=manifest("rules", container, **spec)).check()
    cluster.wait_for(".status.phase", "Failed", "pod/rules")
    (status,) = status_of(cluster, "rules")["containerStatuses"]
    assert (status["restartCount"], status["state"]["terminated"]["exitCode"]) == (1, 3)
    file.unlink()
    cluster.carob("wait", "--for=delete", f"pod/static-{node}", "--timeout=60s").check()


def test_a_running_container_is_resized(cluster: Cluster, gone: Any) -> None:
    gone("pod/sized")
    asked = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    shell = run(cluster, "sized", {"resources": asked})
    quota = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
    memory = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    assert shell(quota) == "20000"
    wanted = {"requests": {"cpu": "150m"}, "limits": {"cpu": "300m", "memory": "128Mi"}}
    patch = json.dumps({"spec": {"containers": [{"name": "c0", "resources": wanted}]}})
    cluster.kubectl(KUBECTL, "patch", "pod", "sized", "--subresource", "resize", "--patch", patch).check()
    path = "{.status.containerStatuses[0].resources.limits.memory}"
    cluster.kubectl(KUBECTL, "wait", f"--for=jsonpath={path}=128Mi", "pod/sized", "--timeout=60s").check()
    assert (shell(quota), shell(memory)) == ("30000", str(128 << 20))
    # a limit below what is in use is refused, and told
    less = json.dumps(
        {
            "spec": {
                "containers": [{"name": "c0", "resources": {"requests": {"memory": "1"}, "limits": {"memory": "1"}}}]
            }
        }
    )
    cluster.kubectl(KUBECTL, "patch", "pod", "sized", "--subresource", "resize", "--patch", less).check()
    cluster.kubectl(KUBECTL, "wait", "--for=condition=PodResizeInProgress", "pod/sized", "--timeout=60s").check()
    assert status_of(cluster, "sized")["containerStatuses"][0]["restartCount"] == 0
    assert shell(memory) == str(128 << 20)


def test_who_writes_too_much_is_evicted(cluster: Cluster, gone: Any) -> None:
    gone("pod/writer")
    line = "dd if=/dev/zero of=/scratch/big bs=1M count=3; exec sleep 600"
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    volumes = [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}]
    container = {"command": ["sh", "-c", line], "volumeMounts": mounts}
    cluster.carob("apply", "-f", "-", stdin=manifest("writer", container, volumes=volumes)).check()
    cluster.wait_for(".status.reason", "Evicted", "pod/writer")
    status = status_of(cluster, "writer")
    assert status["phase"] == "Failed"
    assert status["message"] == 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
