"""The union of everybody who may allow: the superuser group, the node authorizer, RBAC. The first to allow wins.

Source: apiserver `authorization/union`; a refusal joins what each of them said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.apiserver.authz.node import NodeAuthorizer, node_name
from carob.apiserver.authz.questions import Decision, question_of, refusal

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.authz.questions import Question
    from carob.apiserver.authz.rbac import RbacAuthorizer
    from carob.apiserver.types import RequestInfo

SUPERUSERS = "system:masters"


class Authorizer:
    """May this user do that?"""

    def __init__(self, nodes: NodeAuthorizer, rbac: RbacAuthorizer) -> None:
        self._nodes = nodes
        self.rbac = rbac

    def authorize(self, user: UserInfo, info: RequestInfo) -> None:
        """Return if the user may do what the request asks. Raises: ApiError 403 in upstream's words."""
        if SUPERUSERS in user.groups:
            return
        asked = question_of(info)
        if self.allows(user, asked):
            return
        raise refusal(user.name, asked, self.explain(user, asked).reason)

    def allows(self, user: UserInfo, asked: Question) -> bool:
        """The bare decision, fast."""
        if SUPERUSERS in user.groups:
            return True
        node = node_name(user)
        return bool(node and self._nodes.decide(node, asked).allowed) or self.rbac.allows(user, asked)

    def explain(self, user: UserInfo, asked: Question) -> Decision:
        """The decision and its reason, for reviews and refusals."""
        if SUPERUSERS in user.groups:
            return Decision(True)
        reasons = []
        node = node_name(user)
        if node:
            decision = self._nodes.decide(node, asked)
            if decision.allowed:
                return decision
            reasons.append(decision.reason)
        decision = self.rbac.explain(user, asked)
        if decision.allowed:
            return decision
        reasons.append(decision.reason)
        return Decision(False, "\n".join(filter(None, reasons)))
