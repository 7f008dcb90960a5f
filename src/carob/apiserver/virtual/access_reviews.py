"""SubjectAccessReview and its family: may somebody do something, and who says so.

Source: kubernetes `pkg/registry/authorization`, `pkg/apis/authorization/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec
from carob.api.status import ApiError, bad_request
from carob.api.types import authorization_v1 as v1
from carob.api.user import UserInfo
from carob.apiserver.authz.questions import Question
from carob.apiserver.virtual.bodies import created, read

if TYPE_CHECKING:
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.types import RequestInfo
    from carob.base.clock import Clock
    from carob.transport.http import Request, Response

_GROUP = "authorization.k8s.io"
Spec = v1.SubjectAccessReviewSpec | v1.SelfSubjectAccessReviewSpec
Causes = list[dict[str, str]]


def _invalid(field: str, value: str, why: str) -> dict[str, str]:
    return {"reason": "FieldValueInvalid", "message": f"Invalid value: {value}: {why}", "field": field}


def _refuse(causes: Causes) -> None:
    if not causes:
        return
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    # upstream has no kind at hand here, and its words show it
    message = f'.{_GROUP} "" is invalid: {joined}'
    raise ApiError(422, "Invalid", message, {"group": _GROUP, "causes": causes})


def _attribute_causes(spec: Spec) -> Causes:
    if spec.resource_attributes is not None and spec.non_resource_attributes is not None:
        asked = spec.non_resource_attributes
        shown = orjson.dumps({"Path": asked.path, "Verb": asked.verb}).decode()
        why = "cannot be specified in combination with resourceAttributes"
        return [_invalid("spec.nonResourceAttributes", shown, why)]
    if spec.resource_attributes is None and spec.non_resource_attributes is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [_invalid("spec.resourceAttributes", "null", why)]
    return []


def _subject_causes(spec: v1.SubjectAccessReviewSpec) -> Causes:
    if spec.user or spec.groups:
        return []
    return [_invalid("spec.user", '""', "at least one of user or group must be specified")]


def question(spec: Spec) -> Question:
    """What a review asks."""
    asked = spec.resource_attributes
    if asked is None:
        path = spec.non_resource_attributes
        assert path is not None
        return Question(path.verb, path=path.path)
    selector = ""
    if asked.field_selector is not None:
        selector = asked.field_selector.raw_selector or ",".join(
            f"{one.key}={one.values[0]}"
            for one in asked.field_selector.requirements
            if one.operator == "In" and len(one.values) == 1
        )
    return Question(
        asked.verb, asked.group, asked.resource, asked.subresource, asked.namespace, asked.name, "", selector
    )


def _subject(spec: v1.SubjectAccessReviewSpec) -> UserInfo:
    extra = {key: tuple(values) for key, values in spec.extra.items()}
    return UserInfo(spec.user, tuple(spec.groups), spec.uid, extra)


class AccessReviews:
    """Answers the four kinds of authorization.k8s.io."""

    def __init__(self, authorizer: Authorizer, clock: Clock) -> None:
        self._authorizer = authorizer
        self._clock = clock

    def _status(self, user: UserInfo, spec: Spec) -> v1.SubjectAccessReviewStatus:
        decision = self._authorizer.explain(user, question(spec))
        return v1.SubjectAccessReviewStatus(allowed=decision.allowed, reason=decision.reason)

    def subject(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """SubjectAccessReview: about anybody."""
        review = read(v1.SubjectAccessReview, info, request, self._clock)
        _refuse(_attribute_causes(review.spec) + _subject_causes(review.spec))
        review.status = self._status(_subject(review.spec), review.spec)
        return created(review)

    def local_subject(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """LocalSubjectAccessReview: about anybody in one namespace."""
        review = read(v1.LocalSubjectAccessReview, info, request, self._clock)
        causes = _attribute_causes(review.spec) + _subject_causes(review.spec)
        if review.spec.non_resource_attributes is not None:
            why = "disallowed on this kind of request"
            causes.append(_invalid("spec.nonResourceAttributes", "{}", why))
        _refuse(causes)
        if not review.metadata.namespace:
            review.metadata.namespace = info.namespace
        attributes = review.spec.resource_attributes
        if attributes is not None and attributes.namespace != info.namespace:
            raise bad_request(f"spec.resourceAttributes.namespace must match namespace: {info.namespace}")
        review.status = self._status(_subject(review.spec), review.spec)
        return created(review)

    def self_subject(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """SelfSubjectAccessReview: about the one who asks."""
        review = read(v1.SelfSubjectAccessReview, info, request, self._clock)
        _refuse(_attribute_causes(review.spec))
        review.status = self._status(user, review.spec)
        return created(review)

    def self_rules(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """SelfSubjectRulesReview: everything that the one who asks may do in a namespace."""
        review = read(v1.SelfSubjectRulesReview, info, request, self._clock)
        if not review.spec.namespace:
            raise bad_request("no namespace on request")
        resources: list[v1.ResourceRule] = []
        paths: list[v1.NonResourceRule] = []
        for rule in self._authorizer.rbac.rules_of(user, review.spec.namespace):
            tree: dict[str, Any] = codec.to_tree(rule)
            if rule.resources:
                resources.append(codec.from_tree(v1.ResourceRule, tree))
            if rule.non_resource_urls:
                paths.append(codec.from_tree(v1.NonResourceRule, tree))
        status = v1.SubjectRulesReviewStatus(resource_rules=resources, non_resource_rules=paths)
        return created(v1.SelfSubjectRulesReview(status=status))
