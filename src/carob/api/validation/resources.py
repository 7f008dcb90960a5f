"""Rules of resource names and quantities: containers, Pods, quotas, limit ranges.

Pure. Source: `pkg/apis/core/helper` and `pkg/apis/core/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity
from carob.api.validation import field, names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from carob.api.scalars import Quantity
    from carob.api.types import core_v1
    from carob.api.validation.field import Cause

NOT_NEGATIVE = "must be greater than or equal to 0"
NOT_WHOLE = "must be an integer"

_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_OBJECT_COUNTS = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
_COMPUTE = frozenset(f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in _CONTAINER)
QUOTA = _COMPUTE | _OBJECT_COUNTS | {"requests.storage"}
STANDARD = QUOTA | {"storage"}


def is_huge_page(name: str) -> bool:
    """True for a size of huge pages."""
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    """True for a resource of Kubernetes itself."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """True for a resource that somebody else defined."""
    return not is_native(name) and not name.startswith("requests.") and not names.qualified_name(f"requests.{name}")


def may_overcommit(name: str) -> bool:
    """True where requests may be lower than limits."""
    return is_native(name) and not is_huge_page(name)


def is_quota_resource(name: str) -> bool:
    """True for what a quota may count without a domain."""
    return name in QUOTA or is_huge_page(name) or name.startswith("requests.hugepages-")


def resource_name(out: list[Cause], path: str, name: str) -> bool:
    """A standard name, or one with a domain; True if the form is right."""
    wrong = names.qualified_name(name)
    for why in wrong:
        out.append(field.invalid(path, name, why))
    if wrong:
        return False
    if (
        "/" not in name
        and name not in STANDARD
        and not is_huge_page(name)
        and not name.startswith("requests.hugepages-")
    ):
        out.append(field.invalid(path, name, "must be a standard resource type or fully qualified"))
    return True


def container_resource_name(out: list[Cause], path: str, name: str) -> None:
    """What a container may ask for."""
    if name in _CONTAINER:
        return
    resource_name(out, path, name)
    if "/" not in name:
        if not is_huge_page(name):
            out.append(field.invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        out.append(field.invalid(path, name, "doesn't follow extended resource name standard"))


def pod_resource_name(out: list[Cause], path: str, name: str) -> None:
    """What a Pod as a whole may ask for."""
    before = len(out)
    resource_name(out, path, name)
    if len(out) == before and name not in ("cpu", "memory") and not is_huge_page(name):
        out.append(field.not_supported(path, name, ("cpu", "hugepages-", "memory")))


def quota_resource_name(out: list[Cause], path: str, name: str) -> None:
    """What a quota may count."""
    resource_name(out, path, name)
    if "/" not in name and not is_quota_resource(name):
        out.append(field.invalid(path, name, "must be a standard resource for quota"))


def value(out: list[Cause], path: str, name: str, amount: Quantity) -> None:
    """Not negative, and whole where only whole things can be counted."""
    nano = quantity.nano(amount)
    if nano < 0:
        out.append(field.invalid(path, str(amount), NOT_NEGATIVE))
    if nano % 1_000_000_000 and name not in _CONTAINER and (name in _OBJECT_COUNTS or is_extended(name)):
        out.append(field.invalid(path, str(amount), NOT_WHOLE))


def _huge_page_value(out: list[Cause], path: str, name: str, amount: Quantity) -> None:
    try:
        size = quantity.whole(name.removeprefix("hugepages-"))
        divisible = size > 0 and quantity.whole(amount) % size == 0
    except ValueError:
        divisible = False
    if not divisible:
        out.append(field.invalid(path, str(amount), f"{amount} is not positive integer multiple of {name}"))


def requirements(
    out: list[Cause],
    path: str,
    wanted: core_v1.ResourceRequirements,
    claims: Collection[str] = (),
    check_name: Callable[[list[Cause], str, str], None] = container_resource_name,
) -> None:
    """Limits and requests of a container or Pod; requests must not exceed limits."""
    compute = huge = False
    for name, amount in wanted.limits.items():
        here = f"{path}.limits[{name}]"
        check_name(out, here, name)
        value(out, here, name, amount)
        if is_huge_page(name):
            huge = True
            _huge_page_value(out, here, name, amount)
        compute = compute or name in ("cpu", "memory")
    for name, amount in wanted.requests.items():
        here = f"{path}.requests[{name}]"
        check_name(out, here, name)
        value(out, here, name, amount)
        _against_limit(out, path, name, amount, wanted.limits.get(name))
        if is_huge_page(name):
            huge = True
            _huge_page_value(out, here, name, amount)
        compute = compute or name in ("cpu", "memory")
    if huge and not compute:
        out.append(field.forbidden(path, "HugePages require cpu or memory"))
    if wanted.claims:
        _claims(out, f"{path}.claims", wanted.claims, claims)


def _against_limit(out: list[Cause], path: str, name: str, amount: Quantity, limit: Quantity | None) -> None:
    if limit is None:
        if not may_overcommit(name):
            out.append(field.required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
        return
    if amount == limit:
        return
    order = quantity.compare(amount, limit)
    if order and not may_overcommit(name):
        out.append(field.invalid(f"{path}.requests", str(amount), f"must be equal to {name} limit of {limit}"))
    elif order > 0:
        words = f"must be less than or equal to {name} limit of {limit}"
        out.append(field.invalid(f"{path}.requests", str(amount), words))


def _claims(out: list[Cause], path: str, used: Sequence[core_v1.ResourceClaim], known: Collection[str]) -> None:
    seen: set[str] = set()
    for i, claim in enumerate(used):
        here = f"{path}[{i}]"
        if not claim.name:
            out.append(field.required(here))
            continue
        key = f"{claim.name}/{claim.request}" if claim.request else claim.name
        if claim.request:
            for why in names.dns_label(claim.request):
                out.append(field.invalid(f"{here}.request", claim.request, why))
        whole_claim = not claim.request and any(s.partition("/")[0] == claim.name for s in seen)
        if claim.name in seen or key in seen or whole_claim:
            out.append(field.duplicate(here, key if claim.name not in seen else claim.name))
        seen.add(key)
        if claim.name not in known:
            tail = " which is empty" if not known else ": " + ", ".join(sorted(known))
            cause = field.not_found(here, claim.name)
            cause["message"] += f": must be one of the names in pod.spec.resourceClaims{tail}"
            out.append(cause)
