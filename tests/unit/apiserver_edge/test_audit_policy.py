"""Which rule of an audit policy a request meets, what is wrong with policies, and when a log's file is put aside."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from carob.api.resources import ResourceTable
from carob.api.user import UserInfo
from carob.apiserver import request_info
from carob.apiserver.audit.events import source_addresses
from carob.apiserver.audit.log_file import AuditLog
from carob.apiserver.audit.policy import PolicyError, read
from carob.base.clock import VirtualClock
from carob.transport.http import Request

TABLE = ResourceTable()
BOB = UserInfo("bob", ("devs",))


def policy(*rules: dict[str, Any], **more: Any) -> Any:
    return read(yaml.safe_dump({"kind": "Policy", "apiVersion": "audit.k8s.io/v1", "rules": list(rules), **more}))


def level(rule: dict[str, Any], path: str, method: str = "GET", user: UserInfo | None = BOB) -> str:
    info = request_info.parse(method, *path.partition("?")[::2], TABLE)
    return str(policy({"level": "Metadata", **rule}).decide(user, info).level)


PODS = [{"group": "", "resources": ["pods"]}]


@pytest.mark.parametrize(
    ("rule", "path", "met"),
    [
        ({}, "/version", True),
        ({"users": ["bob"]}, "/version", True),
        ({"users": ["eve"]}, "/version", False),
        ({"userGroups": ["devs", "ops"]}, "/version", True),
        ({"userGroups": ["ops"]}, "/version", False),
        ({"verbs": ["list"]}, "/api/v1/pods", True),
        ({"verbs": ["watch"]}, "/api/v1/pods", False),
        ({"namespaces": ["a"]}, "/api/v1/namespaces/a/pods", True),
        ({"namespaces": ["a"]}, "/api/v1/namespaces/b/pods", False),
        ({"namespaces": [""]}, "/api/v1/nodes", True),
        ({"namespaces": [""]}, "/version", False),
        ({"resources": PODS}, "/api/v1/pods", True),
        ({"resources": PODS}, "/api/v1/namespaces/a/pods/p/log", False),
        ({"resources": [{"group": ""}]}, "/api/v1/namespaces/a/pods/p/log", True),
        ({"resources": [{"group": "apps"}]}, "/api/v1/pods", False),
        ({"resources": [{"resources": ["*"]}]}, "/api/v1/namespaces/a/pods/p/log", True),
        ({"resources": [{"resources": ["pods/*"]}]}, "/api/v1/namespaces/a/pods/p/log", True),
        ({"resources": [{"resources": ["pods/*"]}]}, "/api/v1/pods", True),
        ({"resources": [{"resources": ["*/log"]}]}, "/api/v1/namespaces/a/pods/p/log", True),
        ({"resources": [{"resources": ["*/log"]}]}, "/api/v1/pods", False),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["p"]}]}, "/api/v1/namespaces/a/pods/p", True),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["p"]}]}, "/api/v1/namespaces/a/pods/q", False),
        ({"nonResourceURLs": ["/version"]}, "/version", True),
        ({"nonResourceURLs": ["/heal*"]}, "/healthz/ping", True),
        ({"nonResourceURLs": ["*"]}, "/version", True),
        ({"nonResourceURLs": ["*"]}, "/api/v1/pods", False),
    ],
)
def test_a_rule_is_met_by_what_it_names(rule: dict[str, Any], path: str, met: bool) -> None:
    assert level(rule, path) == ("Metadata" if met else "None")


def test_the_first_rule_that_is_met_counts() -> None:
    found = policy(
        {"level": "None", "users": ["bob"]},
        {"level": "Request", "omitStages": ["ResponseStarted"], "omitManagedFields": False},
        omitStages=["RequestReceived"],
        omitManagedFields=True,
    )
    info = request_info.parse("GET", "/version", "", TABLE)
    assert found.decide(BOB, info).level == "None"
    other = found.decide(None, info)
    assert (other.level, other.omit_managed_fields) == ("Request", False)
    assert other.omit_stages == {"RequestReceived", "ResponseStarted"}


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], "0 rules"),
        ([{}], r"rules\[0\].level: Required value"),
        ([{"level": "All"}], 'level: Unsupported value: "All": supported values: "None", "Metadata"'),
        (
            [{"level": "None", "omitStages": ["X"]}],
            r"omitStages\[0\]: Invalid value: \"X\": allowed stages are Request",
        ),
        ([{"level": "None", "nonResourceURLs": ["x"]}], "must begin with a '/' character"),
        ([{"level": "None", "nonResourceURLs": ["/*x"]}], "must be the final character"),
        (
            [{"level": "None", "nonResourceURLs": ["/x"], "namespaces": ["a"]}],
            "both regular resources and non-resource",
        ),
        ([{"level": "None", "resources": [{"group": "a/v1"}]}], "lowercase RFC 1123 subdomain"),
        ([{"level": "None", "resources": [{"resourceNames": ["a"]}]}], "requires at least one resource"),
        ([{"level": "None", "user": ["a"]}], "unknown field `user`"),
        ([{"level": 1}], "Expected `str`"),
    ],
)
def test_what_is_wrong_with_a_policy_is_said(rules: list[Any], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        policy(*rules)


@pytest.mark.parametrize("text", ["", "[]", "{", "kind: Policy\napiVersion: audit.k8s.io/v1beta1\nrules: []"])
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(PolicyError):
        read(text)


def test_sources_are_the_proxies_and_the_other_end() -> None:
    headers = {"x-forwarded-for": "192.0.2.1, nonsense, 192.0.2.2", "x-real-ip": "192.0.2.3"}
    found = source_addresses(Request("GET", "/", headers=headers, peer_address="192.0.2.4"))
    assert found == ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
    assert source_addresses(Request("GET", "/")) == ["127.0.0.1"]


def test_a_full_file_is_put_aside_and_old_ones_go(tmp_path: Path) -> None:
    clock = VirtualClock()
    path = tmp_path / "logs" / "audit.log"
    log = AuditLog(str(path), clock, max_backups=2, max_megabytes=1)
    stranger = tmp_path / "logs" / "audit-notes.log"
    line = b"x" * (700 << 10) + b"\n"
    for number in range(5):
        log.write(line)
        stranger.touch()
        asyncio.run(clock.advance(1.5))
        assert path.stat().st_size == len(line), number
    log.close()
    aside = sorted(one.name for one in path.parent.iterdir())
    assert len(aside) == 4
    assert stranger.name in aside
    log = AuditLog(str(path), clock, max_days=1, max_megabytes=1)
    for one in path.parent.iterdir():
        os.utime(one, (clock.now() - 90_000,) * 2)
    log.write(line)
    log.close()
    # the file itself was just put aside and is old as well; what is not ours stays
    assert sorted(one.name for one in path.parent.iterdir()) == [stranger.name, "audit.log"]


def test_what_cannot_be_written_is_lost_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    log = AuditLog(str(tmp_path / "file" / "audit.log"), VirtualClock())
    log.write(b"a\n")
    log.write(b"b\n")
    assert caplog.text.count("events are lost") == 1
