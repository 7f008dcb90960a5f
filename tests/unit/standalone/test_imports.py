"""What both roles import at their start is cheap to import."""

from __future__ import annotations

import subprocess
import sys

ROLES = """
import sys, carob.standalone.server, carob.standalone.node
for name, module in sorted(sys.modules.items()):
    if name.startswith("carob."):
        for one in vars(module).values():
            if isinstance(one, type) and one.__module__ == name and "__dataclass_fields__" in vars(one):
                print(f"{name}.{one.__qualname__}")
"""


def test_no_role_pays_for_dataclasses() -> None:
    """Each takes half a millisecond to make, which every start would pay: a Struct takes a twentieth of that."""
    done = subprocess.run([sys.executable, "-I", "-c", ROLES], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_role_loads_what_few_ever_use() -> None:
    """Late, where it is used: memory and time of every start."""
    late = {"cryptography", "dnslib", "grpc", "importlib.resources", "statistics", "tarfile", "tempfile", "yaml"}
    script = "import sys, carob.standalone.server, carob.standalone.node; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert late & {*done.stdout.split()} == set()


def test_up_loads_nothing_that_it_does_not_use() -> None:
    """A command starts the roles before it can load anything more: until then nothing else happens."""
    late = {"asyncio", "dataclasses", "inspect", "logging", "msgspec", "orjson", "shutil", "tempfile", "typing", "yaml"}
    script = "import sys, carob.cli.up, carob.cli.doctor, carob.client.kubeconfig; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert late & {*done.stdout.split()} == set()
