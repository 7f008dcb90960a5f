"""Where everything of one cluster lies on a machine: folders, addresses, ports. No I/O except `load` and `save`.

One file, `cluster.json` in the cluster's folder, is what `carob up` decided; every process of the cluster reads it.
The places are part of carob's contract with its users (README, "Where things are").
"""

from __future__ import annotations

import ipaddress
import json
import os
from contextlib import suppress
from pathlib import Path

from carob.base.description import Description, fresh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

STATE_ROOT = Path("/var/lib/carob")
RUN_ROOT = Path("/run/carob")
LOG_ROOT = Path("/var/log/carob")
if os.geteuid() != 0:
    # who is not root can have clusters without nodes of this machine. Source: XDG Base Directory Specification
    STATE_ROOT = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "carob"
    LOG_ROOT = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "carob/log"
    RUN_ROOT = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/carob-{os.geteuid()}") / "carob"

DEFAULT_API_PORT = 6443
MAX_NODES = 200
"""What is left of the Pods' range is for nodes that join from other machines, and for services' addresses."""
KUBELET_PORT = 10250


class NodeLayout(Description):
    """One node of the cluster on this machine."""

    name: str
    address: str
    """The node's own address, inside the cluster: InternalIP, where its kubelet listens."""
    pod_cidr: str
    kubelet_port: int = KUBELET_PORT
    labels: dict[str, str] = fresh(factory=dict)
    taints: list[str] = fresh(factory=list)
    """`key=value:Effect`, for the Node when it is registered."""
    cri_socket: str = ""
    """Where the node's runtime is served to CRI clients; empty: nowhere."""
    runtime_endpoint: str = ""
    """`unix:///…`: the CRI socket of the runtime that runs the node's containers; empty: carob's own runtime."""
    cpus: str = ""
    memory: str = ""
    """Quantities: how much of the machine it has; empty: all."""
    cni_conf_dir: str = ""
    """Where the configurations of CNI networks are whose plugins attach its Pods; empty: carob does it itself."""
    cni_bin_dirs: list[str] = fresh(factory=list)
    """Where their plugins are."""
    address_given: bool = False
    """Of a node that has joined: whether the user chose its address; else it follows the machine."""
    apart: bool = False
    """Whether it lives in a network namespace of its own, as if it were another machine."""
    kubelet: dict[str, Any] = fresh(factory=dict)
    """What its kubelet is set to beside what holds for the whole cluster: a KubeletConfiguration's fields."""
    address6: str = ""
    pod_cidr6: str = ""
    """The same in IPv6; empty: the cluster has IPv4 alone."""

    @property
    def inside_address(self) -> str:
        """Its address among the Pods, their gateway: one that the machine does not have without us."""
        return self.address if self.apart else _first(self.pod_cidr)

    @property
    def inside_address6(self) -> str:
        """As `inside_address`, in IPv6; empty where there is none."""
        return self.address6 if self.apart else _first(self.pod_cidr6)


class StoreLayout(Description):
    """Where the cluster's state is kept when it is not in a file of this machine: an etcd, and who we are to it."""

    endpoints: list[str] = fresh(factory=list)
    """`host:port` of each member; empty: a database in the cluster's folder."""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    peer_servers: list[str] = fresh(factory=list)
    """How clients reach the other servers of the cluster: URLs."""


class Cluster(Description):
    """What `carob up` decided about one cluster."""

    name: str
    state_dir: str
    run_dir: str
    log_dir: str
    api_port: int = DEFAULT_API_PORT
    pod_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    node_mask_size: int = 24
    """How many bits of an address name the node whose Pod has it."""
    domain: str = "cluster.local"
    registry_mirrors: dict[str, str] = fresh(factory=dict)
    nodes: list[NodeLayout] = fresh(factory=list)
    store: StoreLayout = fresh(factory=StoreLayout)
    simulated: dict[str, Any] = fresh(factory=dict)
    """The simulated nodes' options by their names; empty where there are none."""
    node_monitor_grace_seconds: float = 40.0
    """How long a node may be silent before it counts as lost; it gives four signs of life in that time."""
    eviction_seconds: int = 300
    """How long Pods that do not say otherwise stay on a lost node."""
    kubelet: dict[str, Any] = fresh(factory=dict)
    """What the kubelets of this machine's nodes are set to: a KubeletConfiguration's fields."""
    bind_addresses: list[str] = fresh(factory=list)
    """Addresses of this machine where the server listens for others too; empty: it is heard on this machine alone."""
    advertise_address: str = ""
    """Where other machines reach the server; empty: they do not."""
    servers: list[str] = fresh(factory=list)
    """URLs of the cluster's servers, when none is on this machine: its node has joined from here."""
    origin: str = ""
    """What the cluster is called that was joined; `name` is what it is called here."""
    server_names: list[str] = fresh(factory=list)
    """Further names and addresses by which clients call the server: its certificate has them."""
    pod_cidr6: str = ""
    service_cidr6: str = ""
    """The second ranges, of a dual-stack cluster; empty: it has IPv4 alone."""
    node_mask_size6: int = 64

    @property
    def inside_address(self) -> str:
        """The cluster's own address on this machine, for Pods and local nodes: the first of the Pod range."""
        return _first(self.pod_cidr)

    @property
    def inside_address6(self) -> str:
        """As `inside_address`, in IPv6; empty where there is none."""
        return _first(self.pod_cidr6)

    @property
    def advertised(self) -> str:
        """Where the `kubernetes` Service leads on this machine: the address for others, if there is one."""
        return self.advertise_address or self.inside_address

    @property
    def kubernetes_service_address(self) -> str:
        """The address of the `kubernetes` Service: the first of the service range."""
        return _first(self.service_cidr)

    @property
    def dns_address(self) -> str:
        """The address of the cluster's DNS: the tenth of the service range."""
        return str(ipaddress.ip_network(self.service_cidr)[10])

    @property
    def dns_address6(self) -> str:
        """Where the cluster's DNS is asked in IPv6; empty: nowhere."""
        return str(ipaddress.ip_network(self.service_cidr6)[10]) if self.service_cidr6 else ""

    @property
    def server_dir(self) -> Path:
        """Database and certificates of the server."""
        return Path(self.state_dir) / "server"

    @property
    def pki_dir(self) -> Path:
        return self.server_dir / "pki"

    @property
    def load_balancer_range(self) -> str:
        """Where LoadBalancer Services get their addresses: the end of the Pod range, which no node is given."""
        network = ipaddress.ip_network(self.pod_cidr)
        return f"{network[-256]}/24"

    @property
    def load_balancer_range6(self) -> str:
        """As `load_balancer_range`: the last node's part of the second Pod range; empty where there is none."""
        return self._part6(-1)

    @property
    def segment_range(self) -> str:
        """The addresses of nodes in namespaces of their own: beside the load balancers', no node's Pods have them."""
        network = ipaddress.ip_network(self.pod_cidr)
        return f"{network[-512]}/24"

    @property
    def segment_range6(self) -> str:
        """As `segment_range`: the last but one node's part of the second Pod range; empty where there is none."""
        return self._part6(-2)

    def _part6(self, number: int) -> str:
        """A node's part of the second Pod range; a negative number counts from its end."""
        if not self.pod_cidr6:
            return ""
        mask = self.node_mask_size6
        return f"{ipaddress.IPv6Network(self.pod_cidr6)[number % self._parts6 << (128 - mask)]}/{mask}"

    @property
    def _parts6(self) -> int:
        """How many nodes the second Pod range has room for; 0: there is none."""
        if not self.pod_cidr6:
            return 0
        return 1 << (self.node_mask_size6 - ipaddress.IPv6Network(self.pod_cidr6).prefixlen)

    @property
    def switch_netns(self) -> Path:
        """The file that keeps the network namespace of the switch between nodes of this machine."""
        return Path(self.run_dir) / "switch-netns"

    def netns(self, node: str) -> Path:
        """The file that keeps the network namespace of a node that lives apart."""
        return Path(self.run_dir) / "netns" / node

    def add_node(self, name: str, taken: Iterable[str] = ()) -> NodeLayout:
        """One more node that lives apart, in the first range that neither our nodes nor `taken` (CIDR) have.

        Raises: ValueError when there is no room.
        """
        network = ipaddress.ip_network(self.pod_cidr)
        used = {cidr for node in self.nodes for cidr in (node.pod_cidr, node.pod_cidr6) if cidr} | set(taken)
        # the last two are the nodes' own addresses and the load balancers'
        parts = min(network.num_addresses // 256, self._parts6 or MAX_NODES + 2)
        for number in range(1, min(MAX_NODES, parts - 2)):
            pod_cidr, pod_cidr6 = f"{network[number * 256]}/24", self._part6(number)
            if pod_cidr not in used and pod_cidr6 not in used:
                address = str(ipaddress.ip_network(self.segment_range)[number + 1])
                node = NodeLayout(name, address, pod_cidr, apart=True)
                if self.nodes:
                    # whoever attaches Pods here attaches them everywhere
                    first = self.nodes[0]
                    node.cni_conf_dir, node.cni_bin_dirs = first.cni_conf_dir, list(first.cni_bin_dirs)
                if pod_cidr6:
                    node.pod_cidr6 = pod_cidr6
                    node.address6 = str(ipaddress.ip_network(self.segment_range6)[number + 1])
                self.nodes.append(node)
                return node
        raise ValueError(f"cluster {self.name} has no room for one more node")

    def node_dir(self, node: str) -> Path:
        """Pods, containers and images of a node."""
        return Path(self.state_dir) / node

    def node_run_dir(self, node: str) -> Path:
        return Path(self.run_dir) / node

    @property
    def scheduler_file(self) -> Path:
        """The scheduler's configuration, where the user gave one."""
        return Path(self.state_dir) / "scheduler.yaml"

    @property
    def authentication_file(self) -> Path:
        """Whose tokens the server believes, where the user said so."""
        return self.server_dir / "authentication.json"

    @property
    def pod_security_file(self) -> Path:
        """Levels and exemptions of Pod security, where the user gave some."""
        return self.server_dir / "pod-security.json"

    @property
    def admission_plugins_file(self) -> Path:
        """The names of admission plugins that the user switched on, one a line."""
        return self.server_dir / "admission-plugins"

    @property
    def audit_file(self) -> Path:
        """What is written into the audit log and where that is, where the user wants one."""
        return self.server_dir / "audit.json"

    @property
    def features_file(self) -> Path:
        """Feature gates and group versions that the user switched on."""
        return self.server_dir / "features.json"

    @property
    def file(self) -> Path:
        return Path(self.state_dir) / "cluster.json"

    def node(self, name: str) -> NodeLayout:
        """Raises: LookupError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise LookupError(f"cluster {self.name} has no node {name} on this machine")

    def save(self) -> None:
        """Write `cluster.json`, atomically; a copy in the run folder tells clusters with other state folders of it."""
        for folder in (Path(self.state_dir), Path(self.run_dir)):
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / "cluster.json.tmp"
            temporary.write_text(json.dumps(self.tree(), indent=1) + "\n")
            os.replace(temporary, folder / "cluster.json")

    @classmethod
    def load(cls, file: Path) -> Cluster:
        """Raises: FileNotFoundError; ValueError when the file is no cluster's."""
        tree = json.loads(file.read_text())
        try:
            tree["nodes"] = [NodeLayout.known(node) for node in tree["nodes"]]
            tree["store"] = StoreLayout.known(tree.get("store", {}))
            return cls.known(tree)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{file} is not a cluster's description: {error}") from error


def _first(cidr: str) -> str:
    return str(ipaddress.ip_network(cidr)[1]) if cidr else ""


def new_cluster(name: str, taken: list[Cluster], state_root: Path = STATE_ROOT, foreign: Iterable[str] = ()) -> Cluster:
    """A cluster whose port and ranges no cluster in `taken` uses, so that many run side by side.

    `foreign`: further ranges (CIDR) that the machine already reaches by its own routes.
    """
    used = [ipaddress.ip_network(r) for c in taken for r in (c.pod_cidr, c.service_cidr)]
    used += [ipaddress.ip_network(r) for r in foreign]

    def free(second: int) -> bool:
        both = [ipaddress.ip_network(f"10.{n}.0.0/16") for n in (second, second + 1)]
        return not any(mine.overlaps(other) for mine in both for other in used)

    second = next((n for n in range(42, 250, 2) if free(n)), 42)
    ports = {c.api_port for c in taken}
    return Cluster(
        name=name,
        state_dir=str(state_root / name),
        run_dir=str(RUN_ROOT / name),
        log_dir=str(LOG_ROOT / name),
        api_port=next(p for p in range(DEFAULT_API_PORT, DEFAULT_API_PORT + 1000) if p not in ports),
        pod_cidr=f"10.{second}.0.0/16",
        service_cidr=f"10.{second + 1}.0.0/16",
    )


def known_clusters(state_root: Path = STATE_ROOT) -> list[Cluster]:
    """Every cluster of this machine, by name: with state in `state_root`, or running with its state elsewhere."""
    found: dict[str, Cluster] = {}
    for root in (RUN_ROOT, state_root):
        for file in sorted(root.glob("*/cluster.json")):
            # it may go while we look at it
            with suppress(ValueError, FileNotFoundError):
                cluster = Cluster.load(file)
                found[cluster.name] = cluster
    return [found[name] for name in sorted(found)]
