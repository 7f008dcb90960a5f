"""What the kubelet writes into a Pod's /etc (kubelet's own tables are the source of the expectations)."""

from __future__ import annotations

import pytest

from carob.api.types.core_v1 import HostAlias, PodDNSConfig, PodDNSConfigOption
from carob.network.etc_files import (
    BEHIND_STUB,
    RESOLV_CONF,
    Resolver,
    host_network_hosts_file,
    hosts_file,
    parse_resolv_conf,
    pod_resolver,
    resolv_conf_for_others,
)

NODE = Resolver(["192.0.2.53"], ["example.com"], ["edns0"])


def resolver(policy: str, config: PodDNSConfig | None = None, **changes: object) -> Resolver:
    arguments: dict[str, object] = {
        "namespace": "default",
        "policy": policy,
        "config": config,
        "host_network": False,
        "cluster_servers": ["10.43.0.10"],
        "cluster_domain": "cluster.local",
        "node": NODE,
    }
    return pod_resolver(**(arguments | changes))  # type: ignore[arg-type]


def test_hosts_file_is_upstreams() -> None:
    aliases = [HostAlias(ip="203.0.113.7", hostnames=["foo.local", "bar.local"])]
    assert hosts_file(["10.42.0.2"], "web-0", "web.default.svc.cluster.local", aliases) == (
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n"
        "10.42.0.2\tweb-0.web.default.svc.cluster.local\tweb-0\n"
        "\n# Entries added by HostAliases.\n"
        "203.0.113.7\tfoo.local\tbar.local\n"
    )


def test_hosts_file_without_subdomain_has_the_name_alone() -> None:
    assert hosts_file(["10.42.0.2", "fd00::2"], "web", "").endswith("ip6-allrouters\n10.42.0.2\tweb\nfd00::2\tweb\n")


def test_hosts_file_on_the_nodes_network_is_the_nodes() -> None:
    text = host_network_hosts_file("127.0.0.1 localhost\n", [HostAlias(ip="203.0.113.7", hostnames=["foo"])])
    assert text == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
        "\n# Entries added by HostAliases.\n203.0.113.7\tfoo\n"
    )


def test_cluster_first() -> None:
    assert resolver("ClusterFirst").text() == (
        "search default.svc.cluster.local svc.cluster.local cluster.local example.com\n"
        "nameserver 10.43.0.10\noptions ndots:5\n"
    )


def test_cluster_first_on_the_nodes_network_is_the_nodes_resolver() -> None:
    expected = "search example.com\nnameserver 192.0.2.53\noptions edns0\n"
    assert resolver("ClusterFirst", host_network=True).text() == expected
    assert resolver("Default").text() == expected
    assert resolver("ClusterFirstWithHostNet", host_network=True).servers == ["10.43.0.10"]


def test_without_cluster_dns_the_node_s_resolver_is_used_and_said_so() -> None:
    out = resolver("ClusterFirst", cluster_servers=[])
    assert out.servers == ["192.0.2.53"]
    assert "Falling back" in out.problems[0]


def test_none_has_only_what_dns_config_says() -> None:
    config = PodDNSConfig(
        nameservers=["192.0.2.1"],
        searches=["ns1.svc.cluster-domain.example"],
        options=[PodDNSConfigOption(name="ndots", value="2"), PodDNSConfigOption(name="edns0")],
    )
    assert resolver("None", config).text() == (
        "search ns1.svc.cluster-domain.example\nnameserver 192.0.2.1\noptions ndots:2 edns0\n"
    )


def test_dns_config_is_merged_and_its_options_win() -> None:
    config = PodDNSConfig(
        nameservers=["10.43.0.10", "192.0.2.1"], options=[PodDNSConfigOption(name="ndots", value="2")]
    )
    out = resolver("ClusterFirst", config)
    assert out.servers == ["10.43.0.10", "192.0.2.1"]
    assert out.options == ["ndots:2"]


def test_too_many_servers_and_searches_are_cut_and_said_so() -> None:
    config = PodDNSConfig(nameservers=[f"192.0.2.{i}" for i in range(4)], searches=[f"s{i}.example" for i in range(40)])
    out = resolver("None", config)
    assert len(out.servers) == 3
    assert len(out.searches) == 32
    assert len(out.problems) == 2


def test_resolv_conf_of_the_node() -> None:
    text = "# by hand\nsearch a.example\nsearch b.example. .\nnameserver 192.0.2.1\noptions ndots:1 rotate\noptions ndots:3\n"
    assert parse_resolv_conf(text) == Resolver(["192.0.2.1"], ["b.example", "."], ["ndots:3", "rotate"])


@pytest.mark.parametrize(
    ("machine", "behind", "wanted"),
    [
        ("nameserver 127.0.0.53\n", "nameserver 192.0.2.1\n", BEHIND_STUB),
        ("nameserver ::1\n", "nameserver 192.0.2.1\n", BEHIND_STUB),
        # somebody else's resolver listens there, or systemd-resolved knows none
        ("nameserver 127.0.0.1\n", "", RESOLV_CONF),
        ("nameserver 127.0.0.53\n", "# nothing\n", RESOLV_CONF),
        ("nameserver 127.0.0.53\nnameserver 192.0.2.7\n", "nameserver 192.0.2.1\n", RESOLV_CONF),
        ("nameserver 192.0.2.7\n", "nameserver 192.0.2.1\n", RESOLV_CONF),
        ("", "nameserver 192.0.2.1\n", RESOLV_CONF),
    ],
)
def test_a_resolver_on_the_loopback_is_not_for_pods(machine: str, behind: str, wanted: str) -> None:
    assert resolv_conf_for_others({RESOLV_CONF: machine, BEHIND_STUB: behind}.__getitem__) == wanted
