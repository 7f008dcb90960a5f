"""Start a cluster in the background, or find the one that runs, or start it again from kept data.

Returns when a Pod could run: the node is Ready, the default ServiceAccount is there. The context
`carob-NAME` is then in your kubeconfig and is the current one.

Examples:
  carob up                                   # the cluster "default"
  carob up --name test --api-port 7443       # a second one beside it
  carob up --nodes 3                         # three nodes on this machine
  carob up --store etcd://10.0.0.1:2379 --etcd-cafile ca.crt --etcd-certfile client.crt --etcd-keyfile client.key
  carob up --bind-address 0.0.0.0            # nodes of other machines may join: `carob token create`
  carob up --cluster-cidr 10.42.0.0/16,fd00:42::/56 --service-cidr 10.43.0.0/16,fd00:43::/108   # dual-stack
  carob up --nodes 0 --simulated-nodes 1000  # nodes that run no containers; needs no root
  carob up --registry-mirror docker.io=http://127.0.0.1:5000
"""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from pathlib import Path

from carob.base.layout import MAX_NODES, RUN_ROOT, Cluster, NodeLayout, known_clusters, new_cluster
from carob.cli import (
    admission_config,
    audit_options,
    authentication,
    clusters,
    cni_options,
    features,
    listening,
    node_config,
    node_size,
    processes,
    ranges,
    runtime_options,
    scheduler_config,
    simulated,
)
from carob.cli.errors import CommandError
from carob.cli.parts import add_node, start_parts
from carob.cli.progress import Progress
from carob.cli.server import add_store_flags, store_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carob.cli.flags import Arguments, Flags

FIRST_NODE = "node-0"
LEAST_GRACE_SECONDS = 1.0


def add_flags(flags: Flags) -> None:
    """The verb's flags."""
    clusters.add_name_flags(flags)
    flags.number("api-port", meta="P", help="port on 127.0.0.1 (default: 6443, or the next free)")
    listening.add_flags(flags)
    ranges.add_flags(flags)
    add_store_flags(flags)
    flags.number(
        "nodes", default=1, meta="K", help="how many nodes; all but the first in network namespaces of their own"
    )
    flags.duration(
        "node-monitor-grace-period",
        default=40.0,
        meta="T",
        help="how long a node may be silent before it counts as lost",
    )
    flags.duration("pod-eviction-timeout", default=300.0, meta="T", help="how long Pods stay on a node that is lost")
    simulated.add_flags(flags)
    flags.text("scheduler-config", meta="FILE", help="a KubeSchedulerConfiguration: profiles, plugins, weights")
    node_size.add_flags(flags)
    node_config.add_flags(flags)
    runtime_options.add_flags(flags)
    cni_options.add_flags(flags)
    authentication.add_flags(flags)
    admission_config.add_flags(flags)
    features.add_flags(flags)
    audit_options.add_flags(flags)
    flags.duration("wait", default=60.0, help="how long to wait until it is usable")
    flags.texts(
        "registry-mirror",
        meta="HOST=URL",
        help="fetch images of HOST from URL; http:// allows a registry without TLS; may be repeated",
    )
    flags.switch("quiet", "q", help="say nothing while it goes well")


def run(arguments: Arguments) -> int:
    """Start or find the cluster."""
    clusters.need_no_words(arguments, "carob up")
    clusters.check_name(arguments.name)
    if not 0 <= arguments.nodes <= MAX_NODES:
        raise CommandError(f"error: --nodes: {arguments.nodes} is not between 0 and {MAX_NODES}")
    if arguments.node_monitor_grace_period < LEAST_GRACE_SECONDS:
        raise CommandError("error: --node-monitor-grace-period: at least one second")
    simulated_nodes = simulated.options(arguments)
    scheduler = scheduler_config.read(arguments.scheduler_config)
    kubelet = node_config.read(arguments)
    issuers = authentication.read(arguments)
    security, plugins = admission_config.read(arguments), admission_config.plugins(arguments)
    switched, audit = features.read(arguments), audit_options.read(arguments)
    if arguments.nodes:
        clusters.need_root("carob up")
    deadline = time.monotonic() + arguments.wait
    progress = Progress(arguments.quiet)
    started = time.monotonic()
    with clusters.locked(arguments.name):
        if arguments.nodes:
            _need_machine()
        # two clusters that start at once must not choose the same port and ranges
        with clusters.locked(clusters.DECIDING):
            kept = clusters.load(arguments)
            if kept is not None and not Path(kept.run_dir).exists():
                ranges.need_room(kept, known_clusters(RUN_ROOT))
            cluster = kept or _decide(arguments)
            if cluster.servers:
                raise CommandError(
                    f'error: as "{cluster.name}" this machine has joined a cluster elsewhere; choose another --name'
                )
            _store(cluster, arguments)
            ranges.apply(cluster, arguments, new=False)
            if simulated_nodes:
                _simulate(cluster, simulated_nodes)
            if kubelet:
                node_config.keep(cluster, kubelet)
            _listen(cluster, arguments)
            _add_nodes(cluster, arguments)
            node_size.apply_to_all(cluster, arguments)
            cni_options.apply(cluster, arguments)
            runtime_options.apply(cluster, arguments)
            ranges.need_network(cluster)
            clusters.save(cluster)
            scheduler_config.keep(cluster, scheduler)
            authentication.put(cluster, issuers)
            admission_config.put(cluster, security, plugins)
            features.put(cluster, switched)
            audit_options.put(cluster, audit)
        running = start_parts(cluster, progress, deadline, lambda: _write_kubeconfig(cluster))
    if running:
        progress.note(f'Cluster "{cluster.name}" is running already.')
    else:
        progress.note(f'Cluster "{cluster.name}" is up in {time.monotonic() - started:.2f} s.')
    if node_config.ignored(kubelet):
        progress.note(node_config.ignored(kubelet))
    progress.note(f"kubectl uses the context carob-{cluster.name}; try: carob get pods -A")
    return 0


def _decide(arguments: Arguments) -> Cluster:
    taken = known_clusters(Path(arguments.data_dir))
    for other in taken:
        if other.name != arguments.name:
            continue
        if any(processes.find(other.run_dir, part) for part in ("server", *(n.name for n in other.nodes))):
            raise CommandError(
                f'error: a cluster "{other.name}" runs with its state in {Path(other.state_dir).parent}; name that folder '
                "with --data-dir, or choose another --name"
            )
        # nothing of it runs any more, but what it made outside of its files would be lost under the same name
        if os.geteuid() == 0:
            from carob import standalone

            standalone.remove_traces(other)
    cluster = new_cluster(arguments.name, taken, Path(arguments.data_dir), _own_routes())
    if "api-port" in arguments.changed:
        cluster.api_port = arguments.api_port
        _check_port(cluster.api_port)
    else:
        while not _port_is_free(cluster.api_port):
            cluster.api_port += 1
    for mirror in arguments.registry_mirror:
        host, separator, url = mirror.partition("=")
        if not separator or not host or not url:
            raise CommandError(
                f'error: --registry-mirror: "{mirror}" is not HOST=URL, such as docker.io=127.0.0.1:5000'
            )
        cluster.registry_mirrors[host] = url
    cluster.node_monitor_grace_seconds = arguments.node_monitor_grace_period
    cluster.eviction_seconds = round(arguments.pod_eviction_timeout)
    ranges.apply(cluster, arguments, new=True)
    if arguments.nodes:
        cluster.nodes = [_first_node(cluster)]
    return cluster


def _listen(cluster: Cluster, arguments: Arguments) -> None:
    """Where other machines reach the server, and by the same address its node."""
    if not listening.apply(cluster, arguments):
        return
    if processes.find(cluster.run_dir, "server") is not None:
        raise CommandError(
            f'error: cluster "{cluster.name}" runs and listens elsewhere; `carob down --name {cluster.name} '
            "--keep-data` stops it, then it can be started with these"
        )
    for node in cluster.nodes:
        if not node.apart:
            node.address = cluster.advertised


def _store(cluster: Cluster, arguments: Arguments) -> None:
    """Keep the state in an etcd, if that is wanted; a cluster never leaves its state behind without a word."""
    if not arguments.store:
        return
    wanted = store_of(arguments)
    if cluster.file.exists() and sorted(cluster.store.endpoints) != sorted(wanted.endpoints):
        where = (
            f"in the etcd at {','.join(cluster.store.endpoints)}" if cluster.store.endpoints else "in a file of its own"
        )
        raise CommandError(
            f'error: --store: cluster "{cluster.name}" has its state {where}; `carob snapshot` moves it, or choose '
            "another --name"
        )
    cluster.store = wanted


def _simulate(cluster: Cluster, options: dict[str, Any]) -> None:
    if cluster.simulated != options and processes.find(cluster.run_dir, "server") is not None:
        raise CommandError(
            f'error: cluster "{cluster.name}" runs with other simulated nodes; `carob down --name {cluster.name} '
            "--keep-data` stops it, then it can be started with these"
        )
    cluster.simulated = options


def _first_node(cluster: Cluster) -> NodeLayout:
    """The one on the machine's own network."""
    node = NodeLayout(FIRST_NODE, cluster.advertised, f"{ipaddress.ip_network(cluster.pod_cidr)[0]}/24")
    if cluster.pod_cidr6:
        node.address6 = cluster.inside_address6
        node.pod_cidr6 = f"{ipaddress.ip_network(cluster.pod_cidr6)[0]}/{cluster.node_mask_size6}"
    return node


def _add_nodes(cluster: Cluster, arguments: Arguments) -> None:
    """As many as are asked for; those that are there stay."""
    if "nodes" not in arguments.changed:
        return
    if arguments.nodes and not cluster.nodes:
        cluster.nodes = [_first_node(cluster)]
    if arguments.nodes < len(cluster.nodes):
        raise CommandError(
            f"error: --nodes: the cluster has {len(cluster.nodes)} nodes already; `carob node rm` takes one away"
        )
    number = 1
    while len(cluster.nodes) < arguments.nodes:
        name = f"node-{number}"
        if name not in {node.name for node in cluster.nodes}:
            add_node(cluster, name)
        number += 1


def _own_routes() -> list[str]:
    """The ranges that the machine reaches by routes of its own, beside the default route."""
    ranges = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (socket.ntohl(int(fields[i], 16)) for i in (1, 7))
        if mask:
            ranges.append(str(ipaddress.ip_network((address, mask.bit_count()))))
    return ranges


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise CommandError(f"error: --api-port: {port} is not between 1 and 65535")
    if not _port_is_free(port):
        raise CommandError(f"error: --api-port: 127.0.0.1:{port} is taken by another program; choose another port")


def _need_machine() -> None:
    from carob.cli.doctor import need_tools

    need_tools()


def _write_kubeconfig(cluster: Cluster) -> None:
    from carob.client import kubeconfig

    kubeconfig.merge_context(
        f"carob-{cluster.name}",
        server=f"https://127.0.0.1:{cluster.api_port}",
        certificate_authority=(cluster.pki_dir / "ca.crt").read_bytes(),
        client_certificate=(cluster.pki_dir / "admin.crt").read_bytes(),
        client_key=(cluster.pki_dir / "admin.key").read_bytes(),
    )
