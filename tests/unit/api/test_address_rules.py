"""Addresses and ranges in forms that programs read differently are refused (KEP-4858)."""

from __future__ import annotations

import pytest

from carob.api.validation import names
from tests.unit.api.ruling import built, said

ZEROS, MAPPED = "must not have leading 0s", "must not be an IPv4-mapped IPv6 address"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.0.0.0", []),
        ("2001:DB8::1", []),
        ("010.0.0.1", [ZEROS]),
        ("10.0.0.00", [ZEROS]),
        ("::ffff:1.2.3.4", [MAPPED]),
        ("10.0.0", [names.IP_WORDS]),
        ("fe80::1%eth0", [names.IP_WORDS]),
        ("", [names.IP_WORDS]),
    ],
)
def test_addresses(address: str, words: list[str]) -> None:
    assert list(names.ip(address)) == words


@pytest.mark.parametrize(
    ("range_", "words"),
    [
        ("10.0.0.0/8", []),
        ("0.0.0.0/0", []),
        ("2001:db8::/32", []),
        ("10.00.0.0/8", [f"{ZEROS} in IP or prefix length"]),
        ("10.0.0.0/08", [f"{ZEROS} in IP or prefix length"]),
        ("::ffff:1.2.3.0/120", ["must not have an IPv4-mapped IPv6 address"]),
        ("10.0.0.1/8", ["must not have bits set beyond the prefix length"]),
        ("10.0.0.0", [names.CIDR_WORDS]),
        ("10.0.0.0/", [names.CIDR_WORDS]),
        ("10.0.0.0/33", [names.CIDR_WORDS]),
        ("10.0.0.0/1x", [names.CIDR_WORDS]),
    ],
)
def test_ranges(range_: str, words: list[str]) -> None:
    assert list(names.cidr(range_)) == words


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: s, namespace: n}
spec:
  type: LoadBalancer
  clusterIPs: [010.0.0.10]
  clusterIP: 010.0.0.10
  externalIPs: ["::ffff:1.2.3.4"]
  loadBalancerSourceRanges: [10.0.0.1/8]
  ports: [{port: 80}]
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: n}
spec:
  podSelector: {}
  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.01.0.0/16]}}]}]
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: e, namespace: n}
addressType: IPv4
endpoints: [{addresses: [010.0.0.1]}]
ports: []
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            SERVICE,
            [
                f'spec.clusterIPs[0]: Invalid value: "010.0.0.10": {ZEROS}',
                f'spec.externalIPs[0]: Invalid value: "::ffff:1.2.3.4": {MAPPED}',
                'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix '
                "length",
            ],
        ),
        (
            POLICY,
            [
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.01.0.0/16": '
                f"{ZEROS} in IP or prefix length"
            ],
        ),
        (SLICE, [f'endpoints[0].addresses[0]: Invalid value: "010.0.0.1": {ZEROS}']),
    ],
)
def test_objects(text: str, words: list[str]) -> None:
    assert said(built(text)) == words
