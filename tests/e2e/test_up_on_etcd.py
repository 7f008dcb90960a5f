"""`carob up --store etcd://…`: the state is in an etcd that asks for certificates, and is found there again."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from clusters import Cluster

from carob.apiserver.pki import PkiOptions, ensure_pki
from tests.etcd import Etcd

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_a_cluster_keeps_its_state_in_an_etcd(tmp_path: Path) -> None:
    tls = ensure_pki(tmp_path / "pki", PkiOptions(addresses=("127.0.0.1",)), time.time()).directory
    etcd = Etcd(tmp_path / "etcd", 1, tls)
    asyncio.run(etcd.start())
    cluster = Cluster(f"store-{os.getpid() % 10000}", tmp_path)
    files: list[str | Path] = [
        "--etcd-cafile",
        tls / "ca.crt",
        "--etcd-certfile",
        tls / "admin.crt",
        "--etcd-keyfile",
        tls / "admin.key",
    ]
    flags: list[str | Path] = ["--store", f"etcd://{etcd.options.endpoints[0]}", *files]
    try:
        done = cluster.carob("up", *flags, timeout=120)
        assert done.code == 0, done.err + cluster.logs()
        cluster.carob("create", "configmap", "kept", "--from-literal=a=b").check()
        cluster.carob("down", "--keep-data", timeout=120).check()
        assert not (cluster.data_dir / cluster.name / "server" / "carob.db").exists()
        elsewhere = cluster.carob("up", "--store", "etcd://127.0.0.1:1")
        assert "--store: cluster" in elsewhere.err
        assert etcd.options.endpoints[0] in elsewhere.err
        cluster.carob("up", timeout=120).check()
        assert cluster.carob("get", "cm", "kept", "-o", "jsonpath={.data.a}").check().out == "b"
    finally:
        cluster.carob("down", timeout=120)
        etcd.stop()
