"""What deciding alone costs: the pure core on a snapshot, no API, no disk, one process, CPU time.

`python -m bench.decisions --nodes 5000 basic spread` prints, for each workload, Pods a CPU second, the p50 and p99 of one
decision, and the memory of a placed Pod and of a node. The figures of `bench.scheduling` can never be better than these.
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc

from bench.workloads import SERVICES, WORKLOADS, ZONE, Tree, Workload, service
from carob.api import codec
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pods import PodInfo
from carob.scheduler.snapshot import Snapshot
from carob.scheduler.views import NodeView, PodView, slim

ZONES = 3


def node_of(number: int, workload: Workload) -> NodeView:
    """A simulated node as the scheduler sees it."""
    name = f"simulated-{number}"
    labels = {"kubernetes.io/hostname": name, ZONE: f"zone-{number % ZONES}", "kubernetes.io/os": "linux"}
    offered = {"cpu": workload.cpu, "memory": "256Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    return codec.from_tree(NodeView, {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": offered}})


def pod_of(tree: Tree, priorities: dict[str, int]) -> PodInfo:
    """A Pod as the API server would hand it out."""
    tree["metadata"] |= {"namespace": "default", "uid": tree["metadata"]["name"]}
    spec = tree["spec"]
    spec["schedulerName"] = "default-scheduler"
    spec["priority"] = priorities.get(spec.pop("priorityClassName", ""), 0)
    return PodInfo(codec.from_tree(PodView, tree))


def world_of(nodes: int, workload: Workload) -> Snapshot:
    """The nodes, and what must be there before."""
    world = Snapshot()
    world.set_namespace("default", {})
    for number in range(nodes):
        world.set_node(node_of(number, workload))
    for number in range(SERVICES) if workload.services else ():
        tree = service(number)
        world.selecting.set_service("default", tree["metadata"]["name"], tree["spec"]["selector"])
    if workload.before is not None:
        for number in range(4 * nodes):
            place(pod_of(workload.before(number), workload.priorities), world)
    return world


def place(pod: PodInfo, world: Snapshot) -> None:
    """Decide and count it as the loop does; who must go for it goes at once."""
    found = decide(pod, world)
    if isinstance(found, Unschedulable):
        nomination = found.nomination
        if nomination is None:
            return
        for victim in nomination.victims:
            world.remove_pod(victim.key)
        world.nominations.promise(pod, nomination.node)
        found = decide(pod, world)
        assert isinstance(found, NodeInfo), found
    world.assume(pod, found.name)
    slim(pod.view)


def measure(name: str, nodes: int, pods: int) -> str:
    """One line."""
    workload = WORKLOADS[name]
    world = world_of(nodes, workload)
    count = min(pods, workload.most_each_node * nodes) if workload.most_each_node else pods
    waiting = [pod_of(workload.make(number), workload.priorities) for number in range(count)]
    never = [pod_of(workload.backlog(number), {}) for number in range(count)] if workload.backlog is not None else []
    gc.collect()
    gc.freeze()
    started = time.process_time()
    for pod in never:
        place(pod, world)
    each = []
    for pod in waiting:
        before = time.process_time()
        place(pod, world)
        each.append(time.process_time() - before)
    spent = time.process_time() - started
    each.sort()
    p50, p99 = each[len(each) // 2], each[int(len(each) * 0.99)]
    return f"{name:24} {nodes:6,} nodes {count / spent:9,.0f} Pods/CPU s  p50 {1e3 * p50:6.3f} p99 {1e3 * p99:6.3f} ms"


def memory(nodes: int, pods: int) -> str:
    """Bytes that a placed Pod and a node cost the scheduler, its views included."""
    workload = WORKLOADS["services"]
    views = [node_of(number, workload) for number in range(nodes)]
    tracemalloc.start()
    world = Snapshot()
    for view in views:
        world.set_node(view)
    each_node = tracemalloc.get_traced_memory()[0] / nodes
    before = tracemalloc.get_traced_memory()[0]
    for number in range(pods):
        place(pod_of(workload.make(number), {}), world)
    each_pod = (tracemalloc.get_traced_memory()[0] - before) / pods
    tracemalloc.stop()
    return f"memory: {each_node:,.0f} bytes a node beyond its view, {each_pod:,.0f} bytes a placed Pod"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions", description=__doc__)
    # devices come from the API
    known = [name for name, workload in WORKLOADS.items() if not workload.devices]
    parser.add_argument("workloads", nargs="*", default=known, help=f"some of {', '.join(known)}")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=2000)
    arguments = parser.parse_args()
    for name in arguments.workloads:
        print(measure(name, arguments.nodes, arguments.pods), flush=True)
    print(memory(arguments.nodes, arguments.pods))


if __name__ == "__main__":
    main()
