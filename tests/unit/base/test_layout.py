"""Nodes of a cluster on one machine: ranges and addresses."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from carob.base.layout import MAX_NODES, Cluster, new_cluster


def test_nodes_that_live_apart_have_ranges_and_addresses_of_their_own() -> None:
    cluster = new_cluster("c", [])
    one = cluster.add_node("one")
    two = cluster.add_node("two", taken=["10.42.2.0/24"])
    assert (one.pod_cidr, one.address) == ("10.42.1.0/24", "10.42.254.2")
    assert (two.pod_cidr, two.address) == ("10.42.3.0/24", "10.42.254.4")
    assert one.apart


def test_a_range_that_is_free_again_is_given_again() -> None:
    cluster = new_cluster("c", [])
    cluster.add_node("one")
    cluster.add_node("two")
    cluster.nodes.pop(0)
    assert cluster.add_node("three").pod_cidr == "10.42.1.0/24"


def test_the_ranges_of_all_nodes_differ_from_those_of_services_and_segment() -> None:
    cluster = new_cluster("c", [])
    for number in range(1, MAX_NODES):
        cluster.add_node(f"n{number}")
    with pytest.raises(ValueError, match="no room"):
        cluster.add_node("one-too-many")
    ranges = [ipaddress.ip_network(node.pod_cidr) for node in cluster.nodes]
    ranges += [ipaddress.ip_network(cluster.segment_range), ipaddress.ip_network(cluster.load_balancer_range)]
    assert len(set(ranges)) == len(ranges) == MAX_NODES + 1
    segment = ipaddress.ip_network(cluster.segment_range)
    assert all(ipaddress.ip_address(node.address) in segment for node in cluster.nodes)


def test_a_cluster_is_what_was_saved(tmp_path: Path) -> None:
    cluster = new_cluster("c", [], tmp_path)
    cluster.run_dir = str(tmp_path / "run")
    node = cluster.add_node("one")
    node.labels, node.taints = {"a": "b"}, ["k=v:NoSchedule"]
    cluster.node_monitor_grace_seconds = 4.0
    cluster.save()
    assert Cluster.load(cluster.file) == cluster
