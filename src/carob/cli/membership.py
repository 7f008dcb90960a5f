"""`carob node --server URL --token TOKEN`: this machine's node becomes a member of a cluster whose servers are elsewhere;
`carob node leave` takes it back.

What it got when it joined is kept in its folder, so the next start needs no token, and finds its servers again.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from carob.cli import clusters, processes, ranges
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

DEFAULT_API_PORT = 6443
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253
_FOLDERS = ("server", "netns")


def add_flags(flags: Flags) -> None:
    """Under a heading of their own."""
    before, flags.section = flags.section, "Join a cluster of other machines"
    flags.csv("server", meta="URL,...", help="the cluster's servers, such as https://10.0.0.1:6443")
    flags.text("token", meta="TOKEN", help="what `carob token create` printed; needed once")
    flags.text("discovery-token-ca-cert-hash", meta="sha256:HEX", help="by what to know the cluster, for a bare token")
    flags.text("node-name", meta="NAME", help="what the node is to be called (default: as the machine)")
    flags.text(
        "node-ip",
        meta="A[,A6]",
        help="its address, and an IPv6 one behind a comma (default: where the way to the server begins)",
    )
    flags.csv("labels", meta="KEY=VALUE,...", help="labels of the Node when it is registered")
    flags.csv("taints", meta="KEY=VALUE:EFFECT,...", help="taints of the Node when it is registered")
    flags.section = before


def member(arguments: Arguments) -> Cluster | None:
    """The cluster whose only node here is a member of one elsewhere, joined now if need be; None: not asked for.

    Raises: CommandError, also when the cluster does not let it in.
    """
    from carob.cli.nodes import parse_labels, parse_taints
    from carob.standalone.joining import JoinFailure, own_address, pki_of

    cluster = clusters.load(arguments)
    if cluster is not None and not cluster.servers:
        if arguments.server:
            raise CommandError(
                f'error: "{cluster.name}" is a cluster of this machine; give the one that is to be joined another --name'
            )
        return None
    if cluster is None and not arguments.server:
        return None
    servers = [_url(text) for text in arguments.server if text]
    fresh = cluster is None
    if cluster is None:
        cluster = _new(arguments)
    (node,) = cluster.nodes
    if not fresh and arguments.node_name not in ("", node.name):
        raise CommandError(f"error: --node-name: this machine has joined as {node.name}; `carob node leave` ends that")
    cluster.servers = servers or cluster.servers
    if "labels" in arguments.changed:
        node.labels = parse_labels(arguments.labels)
    if "taints" in arguments.changed:
        node.taints = parse_taints(arguments.taints)
    try:
        # a machine that has another address now says so itself
        if "node-ip" in arguments.changed:
            node.address, node.address6 = _addresses(arguments.node_ip)
            node.address_given = bool(node.address)
        if not node.address_given:
            node.address = own_address(cluster.servers)
        if fresh or (arguments.token and not _is_member(pki_of(cluster, node.name))):
            _join(cluster, arguments)
        ranges.need_families(cluster)
    except JoinFailure as error:
        raise CommandError(f"error: {error}") from error
    clusters.save(cluster)
    return cluster


def record(cluster: Cluster, part: str) -> None:
    """Let `carob status` and `carob down` find this process, which nobody of ours may have started.

    Raises: CommandError when there is another one.
    """
    other = processes.find(cluster.run_dir, part)
    if other is not None and other.pid != os.getpid():
        raise CommandError(f"error: {part} runs already, in another process (pid {other.pid})")
    processes.record(cluster.run_dir, part, os.getpid())


def without_token(words: Sequence[str]) -> list[str]:
    """A command line as it is once the token has done its work."""
    kept, skip = [], False
    for word in words:
        if not skip and not word.startswith("--token="):
            if word == "--token":
                skip = True
                continue
            kept.append(word)
        skip = False
    return kept


def _is_member(pki: Path) -> bool:
    """Whether it has a certificate that is still valid."""
    import time

    from carob.api.x509 import pem_to_der, validity

    try:
        begin, end = validity(pem_to_der((pki / "client.pem").read_bytes()))
    except (OSError, ValueError):
        return False
    return begin <= time.time() < end


def _join(cluster: Cluster, arguments: Arguments) -> None:
    from carob.api import join_token
    from carob.standalone.joining import join

    if not arguments.token:
        raise CommandError("error: --token: without one this machine cannot join; `carob token create` makes it")
    try:
        token = join_token.parse(arguments.token, arguments.discovery_token_ca_cert_hash)
    except ValueError as error:
        raise CommandError(f"error: --token: {error}") from error
    try:
        join(cluster, cluster.nodes[0], token)
    except OSError as error:
        raise CommandError(f"error: cannot keep what was joined in {cluster.state_dir}: {error.strerror}") from error


def _new(arguments: Arguments) -> Cluster:
    from carob.base.layout import LOG_ROOT, RUN_ROOT, Cluster, NodeLayout

    name = arguments.node_name or socket.gethostname().lower()
    if not _NODE_NAME.fullmatch(name) or len(name) > _LONGEST_NAME or name in _FOLDERS:
        raise CommandError(f'error: --node-name: "{name}" cannot be the name of a node')
    here = arguments.name
    cluster = Cluster(here, str(Path(arguments.data_dir) / here), str(RUN_ROOT / here), str(LOG_ROOT / here))
    cluster.nodes = [NodeLayout(name, "", "")]
    return cluster


def _url(text: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        port = parts.port or DEFAULT_API_PORT
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/"):
        raise CommandError(f'error: --server: "{text}" is not https://HOST:PORT')
    return f"https://{parts.hostname}:{port}"


def _addresses(text: str) -> tuple[str, str]:
    """IPv4 and, if it is there, IPv6; empty: none."""
    import ipaddress

    first, comma, second = text.partition(",")
    try:
        return str(ipaddress.IPv4Address(first)) if first else "", str(ipaddress.IPv6Address(second)) if comma else ""
    except ValueError:
        raise CommandError(
            f'error: --node-ip: "{text}" is not an IPv4 address, nor one with an IPv6 address behind a comma'
        ) from None


class Leave:
    """Take this machine out of the cluster that it has joined: agent, containers, network and files go.

    The servers keep the Node object until somebody takes it away there.

    Examples:
      carob node leave
      carob node rm node-7       # afterwards, on a server's machine
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        """The verb's flags."""
        clusters.add_name_flags(flags)
        flags.switch("quiet", "q", help="say nothing while it goes well")

    @staticmethod
    def run(arguments: Arguments) -> int:
        """End it and remove its traces."""
        from carob.cli import down

        clusters.need_no_words(arguments, "carob node leave")
        cluster = clusters.existing(arguments)
        if not cluster.servers:
            raise CommandError(f'error: "{cluster.name}" is a cluster of this machine, which it cannot leave')
        arguments.keep_data = False
        code = down.run(arguments)
        name = cluster.nodes[0].name
        if not arguments.quiet:
            print(f"The cluster still has the object of node {name}: `carob node rm {name}` on a server removes it.")
        return code
