"""`authorizer` in expressions: whether the user, or a service account, may do something.

Source: `k8s.io/apiserver/pkg/cel/library/authz.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from carob.api.cel.values import CelError, Foreign
from carob.api.user import UserInfo
from carob.api.validation import names
from carob.apiserver.authz.questions import Decision, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from carob.apiserver.authz.authorizer import Authorizer


class Answers:
    """Decisions of one request: the same question is asked once."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._known: dict[tuple[str, Question], Decision] = {}

    def of(self, user: UserInfo, question: Question) -> Decision:
        """The decision, with its reason."""
        key = (user.name, question)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._authorizer.explain(user, question)
        return found


class Verdict(Foreign):
    """A decision."""

    __slots__ = ("decision",)
    type_name = "kubernetes.authorization.Decision"
    methods: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "allowed": lambda self: self.decision.allowed,
        "reason": lambda self: self.decision.reason,
        "errored": lambda self: False,
        "error": lambda self: "",
    }

    def __init__(self, decision: Decision) -> None:
        self.decision = decision


class _Check(Foreign):
    """What can be checked: a question whose verb is still missing."""

    __slots__ = ("answers", "question", "user")

    def __init__(self, answers: Answers, user: UserInfo, question: Question) -> None:
        self.answers = answers
        self.user = user
        self.question = question

    def check(self, verb: str) -> Verdict:
        return Verdict(self.answers.of(self.user, self.question._replace(verb=verb)))


def _with(name: str) -> Callable[[ResourceCheck, str], ResourceCheck]:
    return lambda self, value: ResourceCheck(self.answers, self.user, self.question._replace(**{name: value}))


class ResourceCheck(_Check):
    """Of a resource."""

    __slots__ = ()
    type_name = "kubernetes.authorization.ResourceCheck"
    methods: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "subresource": _with("subresource"),
        "namespace": _with("namespace"),
        "name": _with("name"),
        "fieldSelector": _with("field_selector"),
        "labelSelector": lambda self, value: self,
        "check": _Check.check,
    }


class PathCheck(_Check):
    """Of a path that is no resource."""

    __slots__ = ()
    type_name = "kubernetes.authorization.PathCheck"
    methods: ClassVar[Mapping[str, Callable[..., Any]]] = {"check": _Check.check}


class GroupCheck(_Check):
    """Of an API group, before its resource is named."""

    __slots__ = ()
    type_name = "kubernetes.authorization.GroupCheck"

    def resource(self, plural: str) -> ResourceCheck:
        if not plural.strip():
            raise CelError("resource must not be empty")
        return ResourceCheck(self.answers, self.user, self.question._replace(resource=plural))

    methods: ClassVar[Mapping[str, Callable[..., Any]]] = {"resource": resource}


class AuthorizerValue(_Check):
    """`authorizer`: of one user."""

    __slots__ = ()
    type_name = "kubernetes.authorization.Authorizer"

    def path(self, path: str) -> PathCheck:
        if not path.strip():
            raise CelError("path must not be empty")
        return PathCheck(self.answers, self.user, Question("", path=path))

    def group(self, group: str) -> GroupCheck:
        return GroupCheck(self.answers, self.user, Question("", group))

    def service_account(self, namespace: str, name: str) -> AuthorizerValue:
        if names.dns_subdomain(name):
            raise CelError("Invalid service account name")
        if names.dns_label(namespace):
            raise CelError("Invalid service account namespace")
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        user = UserInfo(f"system:serviceaccount:{namespace}:{name}", groups)
        return AuthorizerValue(self.answers, user, self.question)

    methods: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "path": path,
        "group": group,
        "serviceAccount": service_account,
    }
