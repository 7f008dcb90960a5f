"""`carob config` changes kubeconfig files as kubectl does: the same words, and the same file afterwards. No cluster."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from kubectls import kubectl

pytestmark = pytest.mark.slow

CONFIG = """\
apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: c1, cluster: {server: "https://127.0.0.1:1", certificate-authority-data: QQ==}}
contexts:
- {name: one, context: {cluster: c1, user: u1, namespace: ns}}
- {name: two, context: {cluster: c2, user: u2}}
users:
- {name: u1, user: {token: secret}}
"""
LINES = """\
config use-context two
config set-context one --namespace=other
config set-context --current --namespace=mine
config set-context new --cluster=c1 --user=u1
config set-context one --namespace=
config set-cluster c2 --server=https://10.0.0.1:6443 --insecure-skip-tls-verify
config set-cluster c1 --tls-server-name=x
config set-credentials u2 --token=t
config set-credentials u1 --username=a --password=b
config rename-context one uno
config rename-context one two
config delete-context one
config delete-context two
config delete-cluster c1
config delete-cluster nosuch
config delete-user u1
config set users.u1.token abc
config set clusters.c1.server https://x
config set current-context two
config set contexts.one.namespace q
config set clusters.new.server https://y
config set clusters.c1.insecure-skip-tls-verify true
config set users.u1.client-key-data abc
config set foo.bar x
config unset users.u1
config unset current-context
config unset contexts.one.namespace
config unset foo
config view --raw
config view --minify -o json
config get-contexts
config set-context
config delete-user
"""
_NAME = re.compile(r"\bkubectl(?:-1\\.37)?(?=[ ,'\"`]|$)", re.MULTILINE)


@pytest.mark.parametrize("line", LINES.splitlines())
def test_config_is_the_same(line: str, tmp_path: Path) -> None:
    seen = []
    for program in ([str(kubectl("1.37"))], [sys.executable, "-m", "carob"]):
        file = tmp_path / "config"
        file.write_text(CONFIG)
        environment = {**os.environ, "KUBECONFIG": str(file), "HOME": str(tmp_path)}
        done = subprocess.run([*program, *shlex.split(line)], env=environment, capture_output=True, text=True)
        words = [_NAME.sub("carob", text) for text in (done.stdout, done.stderr)]
        seen.append((done.returncode, *words, file.read_text() if file.read_text() != CONFIG else "unchanged"))
    assert seen[1] == seen[0]
