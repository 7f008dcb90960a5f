"""Why a Pod has to go, said in its conditions by the very write that lets it go.

Two doors: an Eviction, and a DELETE of our own scheduler's with `disruptionReason` and `disruptionMessage` in its query,
for which one needs the right to patch the Pod's status, too. Other API servers ignore that query.
Source: KEP-3329, `podutil.UpdatePodCondition`. Differs: upstream writes the condition first, and then deletes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.api.types import core_v1
from carob.apiserver.authz.questions import question_of, refusal
from carob.base.clock import rfc3339

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.types import RequestInfo

TYPE = "DisruptionTarget"
REASON, MESSAGE = "disruptionReason", "disruptionMessage"


class Disruption(NamedTuple):
    """`of_eviction`: what is said already stays, and no generation is named. Source: `addConditionAndDeletePod`."""

    reason: str
    message: str
    of_eviction: bool = False

    def say(self, pod: core_v1.Pod, now: float) -> bool:
        """Write it into the Pod's conditions; False if that changes nothing."""
        conditions = pod.status.conditions
        old = next((one for one in conditions if one.type == TYPE), None)
        stays = old is not None and old.status == "True"
        if old is not None and stays and (self.of_eviction or (old.reason, old.message) == (self.reason, self.message)):
            return False
        said = core_v1.PodCondition(
            type=TYPE,
            status="True",
            reason=self.reason,
            message=self.message,
            last_transition_time=old.last_transition_time if old is not None and stays else rfc3339(now),
            observed_generation=0 if self.of_eviction else pod.metadata.generation,
        )
        if old is None:
            conditions.append(said)
        else:
            conditions[conditions.index(old)] = said
        return True


def wanted(info: RequestInfo) -> Disruption | None:
    """What the query of a DELETE says; None if it says nothing, or if it is not about one Pod."""
    row = info.resource
    if REASON not in info.query or info.verb != "delete" or row is None or info.subresource:
        return None
    if (row.group, row.plural) != ("", "pods"):
        return None
    return Disruption(info.first(REASON), info.first(MESSAGE))


def authorize(authorizer: Authorizer, user: UserInfo, info: RequestInfo) -> None:
    """Return unless this would write a status that the user may not write. Raises: ApiError 403."""
    if wanted(info) is None:
        return
    asked = question_of(info)._replace(verb="patch", subresource="status")
    if not authorizer.allows(user, asked):
        raise refusal(user.name, asked, authorizer.explain(user, asked).reason)
