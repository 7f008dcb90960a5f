"""Address families of a Service: what the client left out is settled, what the cluster does not have is refused.

Pure. Source: upstream `pkg/registry/core/service/storage/alloc.go` (initIPFamilyFields), `strategy.go`; KEP-563.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.validation import field
from carob.api.validation.service import family_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import core_v1
    from carob.api.validation.field import Cause

SINGLE, PREFER_DUAL, REQUIRE_DUAL = "SingleStack", "PreferDualStack", "RequireDualStack"
IPV4, IPV6 = "IPv4", "IPv6"
POLICY = "spec.ipFamilyPolicy"
CONFIGURED = (IPV4,)
"""The families of the cluster's Service ranges, the default one first."""


def settle(
    new: core_v1.ServiceSpec, old: core_v1.ServiceSpec | None, configured: Sequence[str] = CONFIGURED
) -> list[Cause]:
    """Fill in policy and families of `new`; what is wrong with them for a cluster of these families.

    What is wrong by itself is left to validation. `old` is None for a new Service.
    """
    if new.type == "ExternalName" or (old is not None and _prefers_as_before(new, old)):
        return []
    headless = new.cluster_ips[:1] == ["None"]
    free = headless and not new.selector
    if new.ip_family_policy is None:
        before = old.ip_family_policy if old is not None else None
        new.ip_family_policy = before or (REQUIRE_DUAL if free else SINGLE)
    broken: list[Cause] = []
    family_fields(broken, new)
    if broken:
        return []
    causes = _changed(new, old) if old is not None else []
    causes += _counted(new)
    if not headless:
        causes += _inferred(new, configured)
    if causes:
        return causes
    if free:
        new.ip_families = new.ip_families or [configured[0]]
        if len(new.ip_families) == 1 and new.ip_family_policy != SINGLE:
            new.ip_families = [*new.ip_families, _other(new.ip_families[0])]
        return []
    if new.ip_family_policy == REQUIRE_DUAL and len(configured) < 2:
        words = "this cluster is not configured for dual-stack services"
        causes.append(field.invalid(POLICY, new.ip_family_policy, words))
    for number, family in enumerate(new.ip_families):
        if family not in configured:
            causes.append(field.invalid(f"spec.ipFamilies[{number}]", family, "not configured on this cluster"))
    if causes:
        return causes
    new.ip_families = new.ip_families or [configured[0]]
    if new.ip_family_policy != SINGLE and len(new.ip_families) == 1 and len(configured) == 2:
        new.ip_families = [*new.ip_families, _other(new.ip_families[0])]
    return []


def _prefers_as_before(new: core_v1.ServiceSpec, old: core_v1.ServiceSpec) -> bool:
    """Whether a Service that prefers two families stays as it is, whatever the cluster has by now."""
    return (
        new.ip_family_policy == old.ip_family_policy == PREFER_DUAL
        and new.cluster_ips == old.cluster_ips
        and new.ip_families == old.ip_families
        and bool(new.ip_families)
        and (new.type != "ExternalName") == (old.type != "ExternalName")
    )


def _changed(new: core_v1.ServiceSpec, old: core_v1.ServiceSpec) -> list[Cause]:
    """Giving up the second family needs the word for it."""
    if old.type == "ExternalName":
        return []
    if new.ip_family_policy == SINGLE:
        if new.cluster_ips == old.cluster_ips:
            new.cluster_ips = new.cluster_ips[:1]
        if new.ip_families == old.ip_families:
            new.ip_families = new.ip_families[:1]
        return []
    causes = []
    for before, after, what in (
        (old.cluster_ips, new.cluster_ips, "cluster IP"),
        (old.ip_families, new.ip_families, "IP family"),
    ):
        if len(before) > 1 and after and len(after) < len(before):
            words = f"must be 'SingleStack' to release the secondary {what}"
            causes.append(field.invalid(POLICY, new.ip_family_policy, words))
    return causes


def _counted(new: core_v1.ServiceSpec) -> list[Cause]:
    if new.ip_family_policy != SINGLE:
        return []
    words = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    causes = []
    for several, what in ((new.cluster_ips, "cluster IPs"), (new.ip_families, "IP families")):
        if len(several) == 2:
            causes.append(field.invalid(POLICY, new.ip_family_policy, words.format(what)))
    return causes


def _inferred(new: core_v1.ServiceSpec, configured: Sequence[str]) -> list[Cause]:
    """Addresses that the client chose say their families."""
    causes = []
    for number in range(len(new.ip_families), len(new.cluster_ips)):
        family = IPV6 if ":" in new.cluster_ips[number] else IPV4
        if family in configured:
            new.ip_families = [*new.ip_families, family]
        else:
            words = f"{family} is not configured on this cluster"
            causes.append(field.invalid(f"spec.clusterIPs[{number}]", new.cluster_ips, words))
    return causes


def _other(family: str) -> str:
    return IPV6 if family == IPV4 else IPV4
