"""SelfSubjectReview and TokenReview: who am I, and whose token is this.

Source: kubernetes `pkg/registry/authentication`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import bad_request
from carob.api.types import authentication_v1 as v1
from carob.apiserver.virtual.bodies import created, read
from carob.base.clock import rfc3339

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.authn.authenticator import Authenticator
    from carob.apiserver.types import RequestInfo
    from carob.base.clock import Clock
    from carob.transport.http import Request, Response


def shown(user: UserInfo) -> v1.UserInfo:
    """A user as the API writes it."""
    extra = {key: list(values) for key, values in user.extra.items()}
    return v1.UserInfo(username=user.name, uid=user.uid, groups=list(user.groups), extra=extra)


class IdentityReviews:
    """Answers the two kinds of authentication.k8s.io."""

    def __init__(self, authenticator: Authenticator, clock: Clock) -> None:
        self._authenticator = authenticator
        self._clock = clock

    def self_subject(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """SelfSubjectReview."""
        read(v1.SelfSubjectReview, info, request, self._clock)
        review = v1.SelfSubjectReview()
        review.metadata.creation_timestamp = rfc3339(self._clock.now())
        review.status = v1.SelfSubjectReviewStatus(user_info=shown(user))
        return created(review)

    def token(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """TokenReview."""
        review = read(v1.TokenReview, info, request, self._clock)
        if not review.spec.token:
            raise bad_request("token is required for TokenReview in authentication")
        found = self._authenticator.authenticate_token(review.spec.token, review.spec.audiences)
        if found is None:
            review.status = v1.TokenReviewStatus(error="invalid bearer token")
        else:
            who, audiences = found
            review.status = v1.TokenReviewStatus(authenticated=True, user=shown(who), audiences=list(audiences))
        return created(review)
