"""Records: whole or not there."""

from __future__ import annotations

from pathlib import Path

from carob.host.real import RealHost
from carob.runtime.embedded.records import ContainerRecord, Phase, Records, SandboxRecord
from carob.runtime.embedded.sandboxes import own_namespaces, resolv_conf
from carob.runtime.types import (
    ContainerConfig,
    DnsConfig,
    Mount,
    NamespaceMode,
    Resources,
    SandboxConfig,
    SecurityContext,
)


def container(**changes: object) -> ContainerRecord:
    config = ContainerConfig(
        name="main",
        image="i",
        env=[("A", "b")],
        mounts=[Mount(container_path="/c", host_path="/h")],
        security=SecurityContext(pid=NamespaceMode.TARGET, run_as_user=0),
        resources=Resources(memory_swap_limit=0, hugepage_limits={"2MB": 1}),
    )
    known: dict[str, object] = {"id": "c1", "sandbox_id": "s1", "config": config, "boot_id": "b", "created_at": 1.5}
    return ContainerRecord(**{**known, **changes})  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    records = Records(RealHost(), str(tmp_path), ContainerRecord)
    record = container(phase=Phase.RUNNING, process=(5, 6))
    records.save(record)
    assert records.load() == [record]
    records.delete("c1")
    records.delete("c1")
    assert records.load() == []


def test_torn_and_foreign_files_are_removed(tmp_path: Path) -> None:
    records = Records(RealHost(), str(tmp_path), SandboxRecord)
    (tmp_path / "torn.json").write_text('{"id": "x", "conf')
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "x.json.12.tmp").write_text("half")
    good = SandboxRecord(id="s", config=SandboxConfig(name="n", namespace="d", uid="u"), boot_id="b", created_at=1.0)
    records.save(good)
    assert records.load() == [good]
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_namespaces_of_a_sandbox() -> None:
    config = SandboxConfig(name="n", namespace="d", uid="u")
    assert [kind for kind, _ in own_namespaces(config)] == ["net", "uts", "ipc"]
    config.network = NamespaceMode.NODE
    assert [kind for kind, _ in own_namespaces(config)] == ["ipc"]


def test_resolv_conf() -> None:
    dns = DnsConfig(servers=["10.43.0.10", "1.1.1.1"], searches=["a.svc", "svc"], options=["ndots:5"])
    assert resolv_conf(dns) == "search a.svc svc\nnameserver 10.43.0.10\nnameserver 1.1.1.1\noptions ndots:5\n"
    assert resolv_conf(DnsConfig()) == "\n"
