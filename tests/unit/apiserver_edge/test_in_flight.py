"""Who is told to come back when many requests wait for the disk."""

from __future__ import annotations

import pytest

from carob.api.status import ApiError
from carob.api.user import UserInfo
from carob.apiserver.in_flight import ADMINISTRATORS_LIMIT, EACH_LIMIT, LIMIT, OTHERS_LIMIT, InFlight

ADMIN = UserInfo("admin", ("system:masters",))
NODE = UserInfo("system:node:a", ("system:nodes",))
MANAGER = UserInfo("system:kube-controller-manager", ())


def other(number: int) -> UserInfo:
    return UserInfo(f"user-{number}", ("system:authenticated",))


def take(waiting: InFlight, user: UserInfo, most: int) -> int:
    """Enter until refused, or `most` times; how often it went well."""
    for count in range(most):
        try:
            waiting.check(user)
        except ApiError:
            return count
        waiting.enter(user)
    return most


def test_one_user_leaves_room_for_others_and_others_for_the_cluster() -> None:
    waiting = InFlight()
    assert take(waiting, other(1), LIMIT) == EACH_LIMIT
    assert take(waiting, other(2), LIMIT) == EACH_LIMIT
    assert take(waiting, other(3), LIMIT) == OTHERS_LIMIT - 2 * EACH_LIMIT
    assert take(waiting, ADMIN, LIMIT) == ADMINISTRATORS_LIMIT - OTHERS_LIMIT
    assert take(waiting, NODE, 10) == 10
    assert take(waiting, MANAGER, LIMIT) == LIMIT - ADMINISTRATORS_LIMIT - 10
    assert waiting.count == LIMIT
    with pytest.raises(ApiError) as refused:
        waiting.check(NODE)
    assert (refused.value.code, refused.value.headers["Retry-After"]) == (429, "1")


def test_a_place_that_is_given_back_is_free() -> None:
    waiting = InFlight()
    assert take(waiting, other(1), LIMIT) == EACH_LIMIT
    waiting.leave(other(1))
    waiting.check(other(1))
    for _ in range(EACH_LIMIT - 1):
        waiting.leave(other(1))
    assert waiting.count == 0
    with pytest.raises(KeyError):
        waiting.leave(other(1))
