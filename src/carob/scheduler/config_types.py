"""What a KubeSchedulerConfiguration file may hold: decoding is the check of names and types.

Source: kube-scheduler `config/v1/types.go`, `types_pluginargs.go` (kubescheduler.config.k8s.io/v1). Fields that only concern
a process of its own (serving, election, profiling) are known and have no effect here.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from carob.api.types import core_v1


class _Strict(Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A field that is not known is a mistake."""


class PluginTree(_Strict):
    name: str = ""
    weight: int | None = None


class PluginSetTree(_Strict):
    enabled: list[PluginTree] | None = None
    disabled: list[PluginTree] | None = None


class PluginsTree(_Strict):
    pre_enqueue: PluginSetTree | None = None
    queue_sort: PluginSetTree | None = None
    pre_filter: PluginSetTree | None = None
    filter: PluginSetTree | None = None
    post_filter: PluginSetTree | None = None
    pre_score: PluginSetTree | None = None
    score: PluginSetTree | None = None
    reserve: PluginSetTree | None = None
    permit: PluginSetTree | None = None
    pre_bind: PluginSetTree | None = None
    bind: PluginSetTree | None = None
    post_bind: PluginSetTree | None = None
    multi_point: PluginSetTree | None = None


class PluginConfigTree(_Strict):
    name: str = ""
    args: dict[str, Any] | None = None


class ProfileTree(_Strict):
    scheduler_name: str | None = None
    percentage_of_nodes_to_score: int | None = None
    plugins: PluginsTree | None = None
    plugin_config: list[PluginConfigTree] | None = None


class TLSTree(_Strict):
    insecure: bool = False
    server_name: str = ""
    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    cert_data: str = ""
    key_data: str = ""
    ca_data: str = ""


class ManagedResourceTree(_Strict):
    name: str = ""
    ignored_by_scheduler: bool = False


class ExtenderTree(_Strict):
    url_prefix: str = ""
    filter_verb: str = ""
    preempt_verb: str = ""
    prioritize_verb: str = ""
    weight: int = 0
    bind_verb: str = ""
    enable_https: bool = msgspec.field(default=False, name="enableHTTPS")
    tls_config: TLSTree | None = None
    http_timeout: str = msgspec.field(default="", name="httpTimeout")
    node_cache_capable: bool = False
    managed_resources: list[ManagedResourceTree] | None = None
    ignorable: bool = False


class ConfigurationTree(_Strict):
    api_version: str = ""
    kind: str = ""
    parallelism: int | None = None
    leader_election: dict[str, Any] | None = None
    client_connection: dict[str, Any] | None = None
    enable_profiling: bool | None = None
    enable_contention_profiling: bool | None = None
    delay_cache_until_active: bool | None = None
    percentage_of_nodes_to_score: int | None = None
    pod_initial_backoff_seconds: int | None = None
    pod_max_backoff_seconds: int | None = None
    profiles: list[ProfileTree] | None = None
    extenders: list[ExtenderTree] | None = None


class _Args(_Strict):
    api_version: str = ""
    kind: str = ""


class DefaultPreemptionArgs(_Args):
    min_candidate_nodes_percentage: int | None = None
    min_candidate_nodes_absolute: int | None = None


class InterPodAffinityArgs(_Args):
    hard_pod_affinity_weight: int | None = None
    ignore_preferred_terms_of_existing_pods: bool = False


class NodeAffinityArgs(_Args):
    added_affinity: core_v1.NodeAffinity | None = None


class PodTopologySpreadArgs(_Args):
    default_constraints: list[core_v1.TopologySpreadConstraint] | None = None
    defaulting_type: str | None = None


class ResourceTree(_Strict):
    name: str = ""
    weight: int | None = None


class PointTree(_Strict):
    utilization: int = 0
    score: int = 0


class RatioTree(_Strict):
    shape: list[PointTree] | None = None


class StrategyTree(_Strict):
    type: str = ""
    resources: list[ResourceTree] | None = None
    requested_to_capacity_ratio: RatioTree | None = None


class NodeResourcesFitArgs(_Args):
    ignored_resources: list[str] | None = None
    ignored_resource_groups: list[str] | None = None
    scoring_strategy: StrategyTree | None = None


class NodeResourcesBalancedAllocationArgs(_Args):
    resources: list[ResourceTree] | None = None


class VolumeBindingArgs(_Args):
    bind_timeout_seconds: int | None = None
    shape: list[PointTree] | None = None


class DynamicResourcesArgs(_Args):
    filter_timeout: str | None = None
    binding_timeout: str | None = None


ARGUMENTS: dict[str, type[_Args]] = {
    "DefaultPreemption": DefaultPreemptionArgs,
    "InterPodAffinity": InterPodAffinityArgs,
    "NodeAffinity": NodeAffinityArgs,
    "PodTopologySpread": PodTopologySpreadArgs,
    "NodeResourcesFit": NodeResourcesFitArgs,
    "NodeResourcesBalancedAllocation": NodeResourcesBalancedAllocationArgs,
    "VolumeBinding": VolumeBindingArgs,
    "DynamicResources": DynamicResourcesArgs,
}
