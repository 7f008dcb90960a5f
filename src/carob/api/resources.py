"""THE table: one row per built-in kind of Kubernetes v1.36.

Routes, discovery, OpenAPI, tables, the RESTMapper, RBAC names and the documentation all come from these rows. A new
built-in resource is a row here, a strategy file in `apiserver/registry` if it behaves specially, and a test. Custom
resources add rows at run time through `ResourceTable.add`.

Pure: no clock, no I/O. The Struct of a kind is imported when somebody asks for it, so that a command which only needs
names stays fast.
"""

from __future__ import annotations

from functools import cached_property

TYPE_CHECKING = False  # every command of the command line loads this module, and `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

# kinds that upstream stores in another group or version than the one they are served in
_STORED_AS = {
    ("events.k8s.io", "v1", "Event"): "/v1",
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): "autoscaling/v2",
    ("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy"): "admissionregistration.k8s.io/v1beta1",
    ("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding"): "admissionregistration.k8s.io/v1beta1",
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"): "apiextensions.k8s.io/v1beta1",
}

STANDARD_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY = ("create",)


class Subresource:
    """A path below an object: its name, the kind that it speaks, its verbs in discovery's order. Never changed.

    `kind` empty: the kind of the resource itself.
    """

    __slots__ = ("group", "kind", "name", "verbs", "version")

    def __init__(
        self,
        name: str,
        kind: str = "",
        verbs: tuple[str, ...] = ("get", "patch", "update"),
        group: str | None = None,
        version: str | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.verbs = verbs
        self.group = group
        self.version = version


STATUS = Subresource("status")
SCALE = Subresource("scale", "Scale", group="autoscaling", version="v1")


class Resource:
    """One kind as the API serves it. Never changed once made; two rows of the same names are equal.

    `group` is empty for the core group; `plural` is what stands in paths and in RBAC rules. `stored` is False for kinds
    that are answered but never kept, such as SubjectAccessReview. `custom` is True for rows that a
    CustomResourceDefinition added; such objects are trees, not Structs.
    """

    # a plain class, because every command of the command line makes all rows: a dataclass costs 20 ms of imports
    def __init__(
        self,
        group: str,
        version: str,
        kind: str,
        plural: str,
        singular: str = "",
        short_names: tuple[str, ...] = (),
        categories: tuple[str, ...] = (),
        namespaced: bool = True,
        verbs: tuple[str, ...] = STANDARD_VERBS,
        subresources: tuple[Subresource, ...] = (),
        stored: bool = True,
        custom: bool = False,
    ) -> None:
        self.group = group
        self.version = version
        self.kind = kind
        self.plural = plural
        self.singular = singular
        self.short_names = short_names
        self.categories = categories
        self.namespaced = namespaced
        self.verbs = verbs
        self.subresources = subresources
        self.stored = stored
        self.custom = custom
        self._hash = hash((group, version, plural))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Resource):
            return NotImplemented
        names = (self.group, self.version, self.kind, self.plural)
        return names == (other.group, other.version, other.kind, other.plural)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Resource({self.api_version} {self.kind})"

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`: as it stands in manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """`pods`, `deployments.apps`: as it stands in error messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """`Pod`, `Deployment.apps`: as it stands in Invalid messages."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @cached_property
    def singular_name(self) -> str:
        """The lower-case name of one object in paths of error messages and on the command line."""
        return self.singular or self.kind.lower()

    @property
    def list_kind(self) -> str:
        """The kind of a list of these."""
        return self.kind + "List"

    @cached_property
    def module(self) -> str:
        """Name of the module in `carob.api.types` that holds the Struct: `core_v1`, `rbac_v1`."""
        return f"{self.group.split('.')[0] or 'core'}_{self.version}"

    @cached_property
    def struct(self) -> type[Any]:
        """The msgspec Struct of one object.

        Raises: LookupError for custom resources, which are trees.
        """
        if self.custom:
            raise LookupError(f"{self.group_kind} is a custom resource: it has no Struct")
        import importlib

        module = importlib.import_module(f"carob.api.types.{self.module}")
        struct: type[Any] = getattr(module, self.kind)
        return struct

    @cached_property
    def storage_version_hash(self) -> str:
        """What discovery tells of the stored form: equal hashes mean an equal stored form.

        Source: apiserver `discovery.StorageVersionHash`: the first eight bytes of the SHA-256 of `group/version/kind`.
        """
        if not self.stored:
            return ""
        import base64
        import hashlib

        stored_as = _STORED_AS.get((self.group, self.version, self.kind), f"{self.group}/{self.version}")
        digest = hashlib.sha256(f"{stored_as}/{self.kind}".encode()).digest()
        return base64.b64encode(digest[:8]).decode()

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection or of one object of it, without a query."""
        parts = ["/apis/" + self.group if self.group else "/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
            if subresource:
                parts.append(subresource)
        return "/".join(parts)

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of this name, or None."""
        return next((s for s in self.subresources if s.name == name), None)


BUILT_IN: tuple[Resource, ...] = (
    # v1
    Resource("", "v1", "Binding", "bindings", verbs=CREATE_ONLY, stored=False),
    Resource(
        "",
        "v1",
        "ComponentStatus",
        "componentstatuses",
        short_names=("cs",),
        namespaced=False,
        verbs=("get", "list"),
        stored=False,
    ),
    Resource("", "v1", "ConfigMap", "configmaps", short_names=("cm",)),
    Resource("", "v1", "Endpoints", "endpoints", short_names=("ep",)),
    Resource("", "v1", "Event", "events", short_names=("ev",)),
    Resource("", "v1", "LimitRange", "limitranges", short_names=("limits",)),
    Resource(
        "",
        "v1",
        "Namespace",
        "namespaces",
        short_names=("ns",),
        namespaced=False,
        verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
        subresources=(
            Subresource("finalize", "Namespace", ("update",)),
            STATUS,
        ),
    ),
    Resource(
        "",
        "v1",
        "Node",
        "nodes",
        short_names=("no",),
        namespaced=False,
        subresources=(
            Subresource("proxy", "NodeProxyOptions", ("create", "delete", "get", "patch", "update")),
            STATUS,
        ),
    ),
    Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",), subresources=(STATUS,)),
    Resource(
        "", "v1", "PersistentVolume", "persistentvolumes", short_names=("pv",), namespaced=False, subresources=(STATUS,)
    ),
    Resource(
        "",
        "v1",
        "Pod",
        "pods",
        short_names=("po",),
        categories=("all",),
        subresources=(
            Subresource("attach", "PodAttachOptions", ("create", "get")),
            Subresource("binding", "Binding", ("create",)),
            Subresource("ephemeralcontainers", "Pod", ("get", "patch", "update")),
            Subresource("eviction", "Eviction", ("create",), group="policy", version="v1"),
            Subresource("exec", "PodExecOptions", ("create", "get")),
            Subresource("log", "Pod", ("get",)),
            Subresource("portforward", "PodPortForwardOptions", ("create", "get")),
            Subresource("proxy", "PodProxyOptions", ("create", "delete", "get", "patch", "update")),
            Subresource("resize", "Pod", ("get", "patch", "update")),
            STATUS,
        ),
    ),
    Resource("", "v1", "PodTemplate", "podtemplates"),
    Resource(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        short_names=("rc",),
        categories=("all",),
        subresources=(
            SCALE,
            STATUS,
        ),
    ),
    Resource("", "v1", "ResourceQuota", "resourcequotas", short_names=("quota",), subresources=(STATUS,)),
    Resource("", "v1", "Secret", "secrets"),
    Resource(
        "",
        "v1",
        "ServiceAccount",
        "serviceaccounts",
        short_names=("sa",),
        subresources=(Subresource("token", "TokenRequest", ("create",), group="authentication.k8s.io", version="v1"),),
    ),
    Resource(
        "",
        "v1",
        "Service",
        "services",
        short_names=("svc",),
        categories=("all",),
        subresources=(
            Subresource("proxy", "ServiceProxyOptions", ("create", "delete", "get", "patch", "update")),
            STATUS,
        ),
    ),
    # apiregistration.k8s.io/v1
    Resource(
        "apiregistration.k8s.io",
        "v1",
        "APIService",
        "apiservices",
        categories=("api-extensions",),
        namespaced=False,
        subresources=(STATUS,),
    ),
    # apps/v1
    Resource("apps", "v1", "ControllerRevision", "controllerrevisions"),
    Resource("apps", "v1", "DaemonSet", "daemonsets", short_names=("ds",), categories=("all",), subresources=(STATUS,)),
    Resource(
        "apps",
        "v1",
        "Deployment",
        "deployments",
        short_names=("deploy",),
        categories=("all",),
        subresources=(
            SCALE,
            STATUS,
        ),
    ),
    Resource(
        "apps",
        "v1",
        "ReplicaSet",
        "replicasets",
        short_names=("rs",),
        categories=("all",),
        subresources=(
            SCALE,
            STATUS,
        ),
    ),
    Resource(
        "apps",
        "v1",
        "StatefulSet",
        "statefulsets",
        short_names=("sts",),
        categories=("all",),
        subresources=(
            SCALE,
            STATUS,
        ),
    ),
    # events.k8s.io/v1
    Resource("events.k8s.io", "v1", "Event", "events", short_names=("ev",)),
    # authentication.k8s.io/v1
    Resource(
        "authentication.k8s.io",
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
        namespaced=False,
        verbs=CREATE_ONLY,
        stored=False,
    ),
    Resource(
        "authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False, verbs=CREATE_ONLY, stored=False
    ),
    # authorization.k8s.io/v1
    Resource(
        "authorization.k8s.io",
        "v1",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        verbs=CREATE_ONLY,
        stored=False,
    ),
    Resource(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        namespaced=False,
        verbs=CREATE_ONLY,
        stored=False,
    ),
    Resource(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        namespaced=False,
        verbs=CREATE_ONLY,
        stored=False,
    ),
    Resource(
        "authorization.k8s.io",
        "v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        namespaced=False,
        verbs=CREATE_ONLY,
        stored=False,
    ),
    # autoscaling/v2
    Resource(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        short_names=("hpa",),
        categories=("all",),
        subresources=(STATUS,),
    ),
    # autoscaling/v1
    Resource(
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        short_names=("hpa",),
        categories=("all",),
        subresources=(STATUS,),
    ),
    # batch/v1
    Resource("batch", "v1", "CronJob", "cronjobs", short_names=("cj",), categories=("all",), subresources=(STATUS,)),
    Resource("batch", "v1", "Job", "jobs", categories=("all",), subresources=(STATUS,)),
    # certificates.k8s.io/v1
    Resource(
        "certificates.k8s.io",
        "v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        short_names=("csr",),
        namespaced=False,
        subresources=(
            Subresource("approval", "CertificateSigningRequest", ("get", "patch", "update")),
            STATUS,
        ),
    ),
    # networking.k8s.io/v1
    Resource("networking.k8s.io", "v1", "IngressClass", "ingressclasses", namespaced=False),
    Resource("networking.k8s.io", "v1", "Ingress", "ingresses", short_names=("ing",), subresources=(STATUS,)),
    Resource("networking.k8s.io", "v1", "IPAddress", "ipaddresses", short_names=("ip",), namespaced=False),
    Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",)),
    Resource("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", namespaced=False, subresources=(STATUS,)),
    # policy/v1
    Resource(
        "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",), subresources=(STATUS,)
    ),
    # rbac.authorization.k8s.io/v1
    Resource("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    Resource("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False),
    Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    Resource("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    # storage.k8s.io/v1
    Resource("storage.k8s.io", "v1", "CSIDriver", "csidrivers", namespaced=False),
    Resource("storage.k8s.io", "v1", "CSINode", "csinodes", namespaced=False),
    Resource("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities"),
    Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", short_names=("sc",), namespaced=False),
    Resource("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", namespaced=False, subresources=(STATUS,)),
    Resource(
        "storage.k8s.io",
        "v1",
        "VolumeAttributesClass",
        "volumeattributesclasses",
        short_names=("vac",),
        namespaced=False,
    ),
    # admissionregistration.k8s.io/v1
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        categories=("api-extensions",),
        namespaced=False,
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        categories=("api-extensions",),
        namespaced=False,
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        categories=("api-extensions",),
        namespaced=False,
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        categories=("api-extensions",),
        namespaced=False,
        subresources=(STATUS,),
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        categories=("api-extensions",),
        namespaced=False,
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        categories=("api-extensions",),
        namespaced=False,
    ),
    # apiextensions.k8s.io/v1
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        namespaced=False,
        subresources=(STATUS,),
    ),
    # scheduling.k8s.io/v1
    Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", short_names=("pc",), namespaced=False),
    # coordination.k8s.io/v1
    Resource("coordination.k8s.io", "v1", "Lease", "leases"),
    # node.k8s.io/v1
    Resource("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False),
    # discovery.k8s.io/v1
    Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    # resource.k8s.io/v1
    Resource("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", namespaced=False),
    Resource("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", subresources=(STATUS,)),
    Resource("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates"),
    Resource("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", namespaced=False),
    # flowcontrol.apiserver.k8s.io/v1
    Resource(
        "flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", namespaced=False, subresources=(STATUS,)
    ),
    Resource(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        namespaced=False,
        subresources=(STATUS,),
    ),
)

# kinds behind feature gates that v1.36 has closed (`features.py`)
GATED: tuple[Resource, ...] = (
    Resource("certificates.k8s.io", "v1beta1", "ClusterTrustBundle", "clustertrustbundles", namespaced=False),
)


class ResourceTable:
    """The rows that one server serves, by every name that a client may use; custom resources come and go."""

    def __init__(self, rows: Iterable[Resource] = BUILT_IN) -> None:
        self._by_plural: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str, str], Resource] = {}
        for row in rows:
            self.add(row)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_plural.values())

    def add(self, row: Resource) -> None:
        """Serve `row`, replacing a row of the same group, version and plural name."""
        self._by_plural[row.group, row.version, row.plural] = row
        self._by_kind[row.group, row.version, row.kind] = row

    def remove(self, row: Resource) -> None:
        """Serve `row` no longer; unknown rows are ignored."""
        self._by_plural.pop((row.group, row.version, row.plural), None)
        self._by_kind.pop((row.group, row.version, row.kind), None)

    def by_plural(self, group: str, version: str, plural: str) -> Resource | None:
        """The row behind a path."""
        return self._by_plural.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The row behind a manifest's `apiVersion` and `kind`."""
        group, _, version = api_version.rpartition("/")
        return self._by_kind.get((group, version, kind))

    def by_any_name(self, name: str) -> list[Resource]:
        """The rows that a word on a command line can mean: plural, singular, short name or kind, `plural.group`.

        A category (`all`) yields all of its rows. The preferred row of a name that several groups have comes first.
        """
        word, _, group = name.lower().partition(".")
        found = [
            r
            for r in self
            if word in (r.plural, r.singular_name, r.kind.lower(), *r.short_names)
            and (not group or r.group == group or f"{r.version}.{r.group}" == group)
        ]
        if found:
            return found
        return [r for r in self if not group and word in r.categories]


TABLE = ResourceTable()
"""The built-in rows; a server makes its own table, because it adds custom resources to it."""


def resource_of(struct: type[Any]) -> Resource:
    """The row of a Struct class, such as `core_v1.Pod`.

    Raises: LookupError if the class is not the Struct of a kind.
    """
    found = _BY_STRUCT.get((struct.__module__.rsplit(".", 1)[1], struct.__name__)) or _VIEWS.get(struct)
    if found is None:
        raise LookupError(f"{struct.__name__} is not the Struct of a built-in kind")
    return found


def add_view(view: type[Any], kind: type[Any] | Resource) -> None:
    """Let `view`, a Struct with only some fields of `kind` (a Struct or a row), stand for it where objects are read.

    A whole Pod costs 11 KB in memory: who keeps all of them keeps a view.
    """
    _VIEWS[view] = resource_of(kind) if isinstance(kind, type) else kind


_BY_STRUCT = {(row.module, row.kind): row for row in (*BUILT_IN, *GATED)}
_VIEWS: dict[type[Any], Resource] = {}
