"""Which ids Pods with users of their own get."""

from __future__ import annotations

import pytest

from carob.kubelet.pod_record import PodRecord
from carob.kubelet.user_namespaces import IDS, PODS, UserNamespaces, first_id
from carob.runtime.types import SandboxConfig, SandboxState, SandboxStatus, UserNamespace
from tests.unit.kubelet.pods import pod

FIRST = PODS * IDS


def record(uid: str, **spec: object) -> PodRecord:
    return PodRecord(uid, pod(metadata={"uid": uid}, hostUsers=False, **spec))


def sandbox(users: UserNamespace) -> SandboxStatus:
    config = SandboxConfig(name="p", namespace="default", uid="u", users=users)
    return SandboxStatus(id="s", config=config, state=SandboxState.NOT_READY, created_at=0.0)


def test_each_pod_has_its_own_and_keeps_it() -> None:
    records = {uid: record(uid) for uid in ("a", "b", "c")}
    given = UserNamespaces(FIRST, True, records)
    assert given.of(records["a"]) == UserNamespace(FIRST, IDS)
    assert given.of(records["b"]) == UserNamespace(FIRST + IDS, IDS)
    assert given.of(records["a"]) == UserNamespace(FIRST, IDS)
    del records["a"]
    assert given.of(records["c"]) == UserNamespace(FIRST, IDS), "what nobody has is given again"


def test_a_restarted_agent_reads_it_off_the_sandboxes() -> None:
    records = {uid: record(uid) for uid in ("a", "b")}
    records["a"].sandboxes["s"] = sandbox(UserNamespace(FIRST, IDS))
    given = UserNamespaces(FIRST, True, records)
    assert given.of(records["b"]) == UserNamespace(FIRST + IDS, IDS)
    assert given.of(records["a"]) == UserNamespace(FIRST, IDS)


def test_pods_with_the_machines_users_get_none() -> None:
    plain = PodRecord("u", pod())
    assert UserNamespaces(FIRST, False, {}).of(plain) is None


@pytest.mark.parametrize(("first", "supported"), [(0, True), (FIRST, False)])
def test_what_cannot_be_is_refused(first: int, supported: bool) -> None:
    with pytest.raises(ValueError, match="runtime does not support user namespaces"):
        UserNamespaces(first, supported, {}).of(record("a"))


def test_there_is_an_end_of_them() -> None:
    records = {str(n): record(str(n)) for n in range(PODS + 1)}
    given = UserNamespaces(FIRST, True, records)
    for one in list(records.values())[:-1]:
        given.of(one)
    with pytest.raises(ValueError, match="no more available user namespaces"):
        given.of(list(records.values())[-1])


def test_nodes_and_clusters_of_one_machine_share_none() -> None:
    ranges = [first_id(f"10.{second}.{third}.0/24") for second in range(42, 100, 2) for third in range(8)]
    assert len(set(ranges)) == len(ranges)
    assert min(ranges) >= PODS * IDS
    assert max(ranges) + PODS * IDS < 2**32 - 1
    assert first_id("") == 0
