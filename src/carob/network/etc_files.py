"""What stands in a Pod's /etc/hosts and /etc/resolv.conf.

Pure: texts in, texts out; the kubelet writes the files.
Source: kubelet `kubelet_pods.go` (hosts), `network/dns/dns.go` (resolv.conf); the limits of `apis/core/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from carob.api.types.core_v1 import HostAlias, PodDNSConfig

RESOLV_CONF = "/etc/resolv.conf"
BEHIND_STUB = "/run/systemd/resolve/resolv.conf"
"""Whom systemd-resolved asks, which itself listens on 127.0.0.53."""
MAX_NAMESERVERS = 3
MAX_SEARCH_PATHS = 32
MAX_SEARCH_CHARACTERS = 2048
CLUSTER_OPTIONS = ("ndots:5",)

_HEADER = "# Kubernetes-managed hosts file.\n"
_HEADER_HOST_NETWORK = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)


def hosts_file(pod_ips: Sequence[str], hostname: str, domain: str, aliases: Sequence[HostAlias] = ()) -> str:
    """/etc/hosts of a Pod with a network of its own; `domain` is `<subdomain>.<namespace>.svc.<cluster domain>` or
    empty."""
    names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
    own = "".join(f"{ip}\t{names}\n" for ip in pod_ips)
    return _HEADER + _LOCAL + own + _aliases(aliases)


def host_network_hosts_file(node_file: str, aliases: Sequence[HostAlias] = ()) -> str:
    """/etc/hosts of a Pod on the node's network: the node's own file and the Pod's aliases."""
    return _HEADER_HOST_NETWORK + node_file + _aliases(aliases)


def _aliases(aliases: Sequence[HostAlias]) -> str:
    if not aliases:
        return ""
    lines = "".join(alias.ip + "\t" + "\t".join(alias.hostnames) + "\n" for alias in aliases)
    return "\n# Entries added by HostAliases.\n" + lines


class Resolver(Struct):
    """The content of a resolv.conf; `problems` are texts for `DNSConfigForming` warnings."""

    servers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The file; empty when nothing is set."""
        lines = []
        if self.searches:
            lines.append("search " + " ".join(self.searches))
        lines += [f"nameserver {server}" for server in self.servers]
        if self.options:
            lines.append("options " + " ".join(self.options))
        return "".join(line + "\n" for line in lines)


def parse_resolv_conf(text: str) -> Resolver:
    """The node's own resolv.conf; lines that mean nothing to us are skipped, the last `search` wins."""
    out = Resolver()
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "nameserver" and len(words) > 1:
            out.servers.append(words[1])
        elif words[0] == "search":
            out.searches = [word if word == "." else word.removesuffix(".") for word in words[1:]]
        elif words[0] == "options":
            out.options = _merge_options(out.options, [_split_option(word) for word in words[1:]])
    return out


def resolv_conf_for_others(read: Callable[[str], str]) -> str:
    """The file with the machine's resolvers as network namespaces other than the machine's own reach them.

    `read` gives a file's text, empty if there is none. Source: kubeadm, which sets the kubelet's `resolvConf` so.
    """
    servers = parse_resolv_conf(read(RESOLV_CONF)).servers
    stub = servers and all(server.startswith("127.") or server == "::1" for server in servers)
    return BEHIND_STUB if stub and parse_resolv_conf(read(BEHIND_STUB)).servers else RESOLV_CONF


def pod_resolver(
    *,
    namespace: str,
    policy: str,
    config: PodDNSConfig | None,
    host_network: bool,
    cluster_servers: Sequence[str],
    cluster_domain: str,
    node: Resolver,
) -> Resolver:
    """The resolver of a Pod by its dnsPolicy and dnsConfig.

    `ClusterFirst` on the node's network means `Default`, as does a node that knows no cluster DNS.
    """
    if policy == "None":
        out = Resolver()
    elif _wants_cluster(policy, host_network) and cluster_servers:
        out = Resolver(list(cluster_servers), _cluster_searches(namespace, cluster_domain, node), list(CLUSTER_OPTIONS))
    else:
        out = Resolver(list(node.servers), list(node.searches), list(node.options))
        if _wants_cluster(policy, host_network):
            out.problems.append(
                "kubelet does not have ClusterDNS IP configured and cannot create Pod using "
                f'"{policy}" policy. Falling back to "Default" policy.'
            )
    if config is not None:
        out.servers = _unique([*out.servers, *config.nameservers])
        out.searches = _unique([*out.searches, *config.searches])
        out.options = _merge_options(out.options, [(option.name, option.value or "") for option in config.options])
    return _within_limits(out)


def _wants_cluster(policy: str, host_network: bool) -> bool:
    return policy == "ClusterFirstWithHostNet" or (policy in ("ClusterFirst", "") and not host_network)


def _cluster_searches(namespace: str, domain: str, node: Resolver) -> list[str]:
    if not domain:
        return list(node.searches)
    return _unique([f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *node.searches])


def _split_option(word: str) -> tuple[str, str]:
    name, _, value = word.partition(":")
    return name, value


def _merge_options(options: Iterable[str], added: Iterable[tuple[str, str]]) -> list[str]:
    merged = dict(map(_split_option, options)) | dict(added)
    return [f"{name}:{value}" if value else name for name, value in merged.items()]


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _within_limits(out: Resolver) -> Resolver:
    if len(out.servers) > MAX_NAMESERVERS:
        out.servers = out.servers[:MAX_NAMESERVERS]
        line = " ".join(out.servers)
        out.problems.append(
            f"Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {line}"
        )
    searches = out.searches[:MAX_SEARCH_PATHS]
    while len(" ".join(searches)) > MAX_SEARCH_CHARACTERS:
        searches.pop()
    if len(searches) != len(out.searches):
        out.searches = searches
        out.problems.append(
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(searches)}"
        )
    return out
