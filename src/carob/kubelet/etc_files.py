"""A Pod's host name, and what its `/etc/hosts` and resolver are told. Pure.

The texts are made by `carob.network.etc_files`; this says what goes into them.
Source: kubelet `kubelet_pods.go` (GeneratePodHostNameAndDomain), KEP-1797 (setHostnameAsFQDN), KEP-4762.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.network import etc_files
from carob.runtime.types import DnsConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import core_v1
    from carob.kubelet.options import KubeletOptions

LONGEST_HOSTNAME = 63
LONGEST_FQDN = 64


def hosts_file(
    pod: core_v1.Pod,
    pod_ips: Sequence[str],
    cluster_domain: str,
    hosts_of_the_node: str = "",
    name_of_the_node: str = "",
) -> str:
    """The Pod's `/etc/hosts`; in the node's network it begins with the node's own.

    Differs: a node that its machine's file does not name is named behind it, as one that lives apart.
    """
    if pod.spec.host_network:
        text = hosts_of_the_node
        if name_of_the_node not in text.split():
            text += "".join(f"{ip}\t{name_of_the_node}\n" for ip in pod_ips)
        return etc_files.host_network_hosts_file(text, pod.spec.host_aliases)
    short, domain = hostname_and_domain(pod, cluster_domain)
    return etc_files.hosts_file(pod_ips, short, domain, pod.spec.host_aliases)


def hostname_and_domain(pod: core_v1.Pod, cluster_domain: str) -> tuple[str, str]:
    """The Pod's short host name and its domain, which is empty without a subdomain."""
    if pod.spec.hostname_override:
        return pod.spec.hostname_override, ""
    short = pod.spec.hostname or pod.metadata.name[:LONGEST_HOSTNAME].rstrip("-.")
    if not pod.spec.subdomain:
        return short, ""
    return short, f"{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"


def kernel_hostname(pod: core_v1.Pod, cluster_domain: str) -> str:
    """What `hostname` prints in the Pod.

    Raises: ValueError when `setHostnameAsFQDN` asks for more than the kernel holds.
    """
    short, domain = hostname_and_domain(pod, cluster_domain)
    if not (pod.spec.set_hostname_as_fqdn and domain):
        return short
    name = f"{short}.{domain}"
    if len(name) > LONGEST_FQDN:
        raise ValueError(
            f"failed to construct FQDN from Pod hostname and cluster domain, FQDN {name} is too long "
            f"({LONGEST_FQDN} characters is the max, {len(name)} characters requested)"
        )
    return name


def dns_config(pod: core_v1.Pod, options: KubeletOptions, resolv_conf_of_the_node: str) -> tuple[DnsConfig, list[str]]:
    """What stands in the Pod's `/etc/resolv.conf`, by `dnsPolicy` and `dnsConfig`; and what had to be left out."""
    resolver = etc_files.pod_resolver(
        namespace=pod.metadata.namespace,
        policy=pod.spec.dns_policy,
        config=pod.spec.dns_config,
        host_network=pod.spec.host_network,
        cluster_servers=options.cluster_dns,
        cluster_domain=options.cluster_domain,
        node=etc_files.parse_resolv_conf(resolv_conf_of_the_node),
    )
    config = DnsConfig(servers=resolver.servers, searches=resolver.searches, options=resolver.options)
    return config, resolver.problems
