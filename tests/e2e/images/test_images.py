"""Images of the node, with the machine's own tar and skopeo and a real registry on 127.0.0.1."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from registries import Mirrors, Registry, config, digest, docker_archive, layer, start_registry

from carob.host.real import RealHost
from carob.host.threads import Threads
from carob.runtime.images import child, demo, manifests
from carob.runtime.images.images import Images
from carob.runtime.images.skopeo import Mirror
from carob.runtime.types import NotFound, RegistryAuth, RuntimeFailure
from tests.ports import free_port

pytestmark = [pytest.mark.root, pytest.mark.slow]


@asynccontextmanager
async def images(folder: Path, mirrors: Mirrors | None = None, used_by: str = "") -> AsyncIterator[Images]:
    host = RealHost()
    threads = Threads(host)
    found = Images(host, threads, str(folder), mirrors=mirrors or {}, environment=os.environ, used_by=lambda _: used_by)
    await found.start()
    yield found
    await found.close()
    threads.close()


BASE = layer({"etc/base": b"base", "etc/changed": b"old"})
TOP = layer({"etc/changed": b"new", "etc/.wh.base": b""})
OTHER = layer({"etc/other": b"other"})


def oci_archive(path: Path, layers: list[bytes], annotations: dict[str, str], *, wrong: bool = False) -> Path:
    """An index of an index of manifests, layers packed with gzip, as buildkit writes it."""
    packed = [gzip.compress(one, mtime=0) for one in layers]
    data = config(*layers, User="1000:1000")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"digest": digest(data), "size": len(data)},
            "layers": [{"digest": digest(one), "size": len(one)} for one in packed],
        }
    ).encode()
    inner = json.dumps(
        {
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {"digest": digest(b"elsewhere"), "platform": {"os": "linux", "architecture": "s390x"}},
                {"digest": digest(manifest), "platform": {"os": "linux", "architecture": manifests.architecture()}},
            ],
        }
    ).encode()
    index = {"schemaVersion": 2, "manifests": [{"digest": digest(inner), "annotations": annotations}]}
    blobs = {f"blobs/{digest(blob).replace(':', '/')}": blob for blob in (data, manifest, inner, *packed)}
    if wrong:
        blobs[f"blobs/{digest(packed[0]).replace(':', '/')}"] = gzip.compress(OTHER)
    path.write_bytes(layer({"oci-layout": b"{}", "index.json": json.dumps(index).encode(), **blobs}))
    return path


def left(folder: Path) -> dict[str, int]:
    """How much lies in each part of a store."""
    return {
        kind: len(list((folder / kind).iterdir())) for kind in ("blobs/sha256", "layers", "images", "names", "staging")
    }


NOTHING = {"blobs/sha256": 0, "layers": 0, "images": 0, "names": 0, "staging": 0}


# -- build and load -----------------------------------------------------------------------------------------------------


def test_the_demo_image_is_built_and_serves(tmp_path: Path) -> None:
    async def main() -> None:
        host = RealHost()
        await demo.make_root(host, str(tmp_path / "root"), {"PATH": os.environ["PATH"]})
        ids, root = [], Path()
        for store in ("one", "two"):
            async with images(tmp_path / store) as node:
                image = await node.build(str(tmp_path / "root"), "nigelpoulton/k8sbook", demo.CONFIG)
                ids.append(image.id)
                assert image.tags == ["docker.io/nigelpoulton/k8sbook:latest"]
                assert image.config == demo.CONFIG
                (folder,) = node.layer_folders("nigelpoulton/k8sbook:latest")
                assert [one async for one in node.layers(image.id)] == [folder]
                root = Path(folder)
        assert ids[0] == ids[1], "the same folder must make the same image"
        assert "Hello" in (root / "www/index.html").read_text()
        assert (root / "bin/httpd").samefile(root / "bin/busybox")
        assert (root / "bin/busybox").stat().st_uid == 0
        command = ["/usr/sbin/chroot", str(root), "/bin/sh", "-c", "ps aux >/dev/null; echo works"]
        ended = await child.run(host, command, {"PATH": "/bin"})
        assert (ended.code, ended.output, ended.errors) == (0, b"works\n", "")

    asyncio.run(main())


def test_building_from_nothing_or_with_a_bad_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with images(tmp_path / "store") as node:
            with pytest.raises(RuntimeFailure, match="is no folder"):
                await node.build(str(tmp_path / "missing"), "a", {})
            with pytest.raises(RuntimeFailure, match="must be lowercase"):
                await node.build(str(tmp_path), "BAD", {})
            (tmp_path / "root").mkdir()
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(tmp_path / "root/socket"))
                with pytest.raises(RuntimeFailure, match="socket"):
                    await node.build(str(tmp_path / "root"), "a", {})
        assert left(tmp_path / "store") == NOTHING

    asyncio.run(main())


@pytest.mark.parametrize("packed", [False, True])
def test_a_docker_archive_with_two_images_shares_their_layers(tmp_path: Path, packed: bool) -> None:
    async def main() -> None:
        path = docker_archive(tmp_path / "two.tar", {"one:v1": [BASE, TOP], "example.com/two:v2": [BASE, OTHER]})
        if packed:
            path.write_bytes(gzip.compress(path.read_bytes()))
        async with images(tmp_path / "store") as node:
            first, second = await node.load(str(path))
            assert (first.tags, second.tags) == (["docker.io/library/one:v1"], ["example.com/two:v2"])
            assert first.id == digest(config(BASE, TOP, Cmd=["sh", "one:v1"]))
            top, base = (Path(folder) for folder in node.layer_folders("one:v1"))
            assert (top / "etc/changed").read_bytes() == b"new"
            assert (base / "etc/changed").read_bytes() == b"old"
            assert node.layer_folders(second.id)[-1] == str(base)
            assert len(await node.list_images()) == 2
            usage = await node.image_filesystem()
            assert 0 < usage.used_bytes < usage.capacity_bytes
        async with images(tmp_path / "store") as node:
            assert await node.image_status("one:v1") == first
            assert await node.image_status(first.id) == first
            assert await node.image_status(first.id[7:]) == first
            assert await node.image_status("one") is None
            await node.remove_image("one:v1")
            await node.remove_image("one:v1")
            assert left(tmp_path / "store") == {
                "blobs/sha256": 3, "layers": 2, "images": 1, "names": 1, "staging": 0,
            }  # fmt: skip
            with pytest.raises(NotFound):
                node.layer_folders("one:v1")
            await node.remove_image(second.id)
            assert left(tmp_path / "store") == NOTHING

    asyncio.run(main())


@pytest.mark.parametrize(
    ("annotations", "tags"),
    [
        ({"org.opencontainers.image.ref.name": "latest"}, []),
        ({"org.opencontainers.image.ref.name": "app:v1"}, ["docker.io/library/app:v1"]),
        (
            {"io.containerd.image.name": "r.example/app:v1", "org.opencontainers.image.ref.name": "v1"},
            ["r.example/app:v1"],
        ),
    ],
)
def test_an_oci_archive(tmp_path: Path, annotations: dict[str, str], tags: list[str]) -> None:
    async def main() -> None:
        path = oci_archive(tmp_path / "oci.tar", [BASE, TOP], annotations)
        async with images(tmp_path / "store") as node:
            (image,) = await node.load(str(path))
            assert (image.tags, image.uid, image.username) == (tags, 1000, "")
            assert len(node.layer_folders(image.id)) == 2

    asyncio.run(main())


def bad_archives(folder: Path) -> Iterator[tuple[Path, str]]:
    good = docker_archive(folder / "good.tar", {"a": [BASE, TOP]}).read_bytes()
    for name, data, message in (
        ("empty", b"", "damaged"),
        ("text", b"this is no archive" * 1000, "damaged"),
        ("cut", good[: len(good) // 2], "damaged|neither"),
        ("packed-cut", gzip.compress(good)[:300], "ends too early"),
        ("foreign", BASE, "neither a docker-archive"),
        ("no-json", layer({"manifest.json": b"[{"}), "manifest.json"),
        ("no-images", layer({"manifest.json": b"[]"}), "holds no image"),
        ("no-config", layer({"manifest.json": b'[{"Config":"c","Layers":[]}]'}), "c is missing"),
    ):
        path = folder / f"{name}.tar"
        path.write_bytes(data)
        yield path, message
    garbled = [BASE, b"\xff" * 2048]
    yield docker_archive(folder / "bad-layer.tar", {"a": garbled}), "does not look like a tar archive"
    yield oci_archive(folder / "lie.tar", [BASE], {}, wrong=True), "has digest"
    yield folder / "missing.tar", "No such file"


def test_bad_archives_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with images(tmp_path / "store") as node:
            for path, message in bad_archives(tmp_path):
                with pytest.raises(RuntimeFailure, match=message):
                    await node.load(str(path))
                assert left(tmp_path / "store") == NOTHING, path.name

    asyncio.run(main())


def test_an_image_in_use_stays(tmp_path: Path) -> None:
    async def main() -> None:
        path = docker_archive(tmp_path / "a.tar", {"a": [BASE]})
        async with images(tmp_path / "store", used_by="web") as node:
            await node.load(str(path))
            with pytest.raises(RuntimeFailure, match="image a is in use by container web"):
                await node.remove_image("a")
            assert await node.image_status("a") is not None

    asyncio.run(main())


HERE = Path(__file__).parent
KILLED = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[1], sys.argv[4], sys.argv[4] + "/tests/e2e"
from test_images import images

async def main():
    async with images(Path(sys.argv[2])) as node:
        await node.load(sys.argv[3])

asyncio.run(main())
"""


def test_kill_nine_in_the_middle_of_an_unpack(tmp_path: Path) -> None:
    big = layer({f"data/{n}": os.urandom(100_000) for n in range(600)})
    path = docker_archive(tmp_path / "big.tar", {"big": [BASE, big]})
    store = tmp_path / "store"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(HERE), str(store), str(path), str(HERE.parents[2])])
    deadline = time.monotonic() + 30
    while len(list(store.glob("staging/*/fs/data/*"))) < 20:
        assert child.poll() is None, "it was over too soon"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert list(store.glob("staging/*/fs/data/*"))

    async def main() -> None:
        async with images(store) as node:
            assert left(store) == NOTHING
            (image,) = await node.load(str(path))
            assert len(list((Path(node.layer_folders(image.id)[0]) / "data").iterdir())) == 600

    asyncio.run(main())


def test_what_a_power_cut_may_have_torn_is_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        async with images(tmp_path / "store") as node:
            (safe,) = await node.load(str(docker_archive(tmp_path / "a.tar", {"safe": [BASE]})))
        async with images(tmp_path / "store") as node:
            (torn,) = await node.load(str(docker_archive(tmp_path / "b.tar", {"torn": [BASE, TOP]})))
        record = tmp_path / f"store/images/{torn.id[7:]}.json"
        tree = json.loads(record.read_text())
        assert tree.get("unsynced_boot_id", "") == "", "closing waits for the disk"
        record.write_text(json.dumps(tree | {"unsynced_boot_id": "an earlier one"}))
        async with images(tmp_path / "store") as node:
            assert [image.id for image in await node.list_images()] == [safe.id]
            assert left(tmp_path / "store") == {
                "blobs/sha256": 2, "layers": 1, "images": 1, "names": 1, "staging": 0,
            }  # fmt: skip

    asyncio.run(main())


def test_records_that_cannot_be_read_are_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        path = docker_archive(tmp_path / "a.tar", {"a": [BASE], "b": [TOP]})
        async with images(tmp_path / "store") as node:
            kept, _ = await node.load(str(path))
        for record in (tmp_path / "store/images").iterdir():
            if record.stem != kept.id[7:]:
                record.write_bytes(b"")
        shutil.rmtree(tmp_path / "store/names")
        async with images(tmp_path / "store") as node:
            assert [(image.id, image.tags) for image in await node.list_images()] == [(kept.id, [])]
            assert left(tmp_path / "store") == {
                "blobs/sha256": 2, "layers": 1, "images": 1, "names": 0, "staging": 0,
            }  # fmt: skip

    asyncio.run(main())


# -- pull ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from start_registry(tmp_path_factory.mktemp("registry") / "open", private=False)


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from start_registry(tmp_path_factory.mktemp("registry") / "private", private=True)


Pulled = Callable[[Images], Any]


def test_pull_through_a_mirror_and_again(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/web:v1", [BASE, TOP], User="nobody")

    async def main() -> None:
        async with images(tmp_path / "store", registry.mirrors) as node:
            said: list[str] = []
            image = await node.pull_image("web:v1", progress=said.append)
            assert image.tags == ["docker.io/library/web:v1"]
            (repo_digest,) = image.digests
            assert repo_digest.startswith("docker.io/library/web@sha256:")
            assert image.username == "nobody"
            assert any(line.startswith("Copying blob") for line in said)
            top, base = (Path(folder) for folder in node.layer_folders(repo_digest))
            assert (top / "etc/changed").read_bytes() == b"new"
            assert (base / "etc/base").read_bytes() == b"base"
            said.clear()
            assert await node.pull_image("docker.io/library/web:v1", progress=said.append) == image
            assert said == [], "an unchanged image must not be fetched again"
            assert await node.pull_image(repo_digest) == image
            assert await node.image_status(repo_digest) == image
        async with images(tmp_path / "other", registry.mirrors) as node:
            by_digest = await node.pull_image(repo_digest)
            assert (by_digest.tags, by_digest.digests) == ([], [repo_digest])
            assert (await node.pull_image(f"web:v1@{repo_digest.partition('@')[2]}")).tags == image.tags
            assert left(tmp_path / "other")["staging"] == 0

    asyncio.run(main())


def test_a_tag_that_moves(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/moving:v1", [BASE])

    async def main() -> None:
        async with images(tmp_path / "store", registry.mirrors) as node:
            old = await node.pull_image("moving:v1")
            registry.push("library/moving:v1", [BASE, OTHER])
            new = await node.pull_image("moving:v1")
            assert new.id != old.id
            status = await node.image_status("moving:v1")
            assert status == new
            before = await node.image_status(old.digests[0])
            assert before is not None
            assert (before.id, before.tags, before.digests) == (old.id, [], old.digests)

    asyncio.run(main())


def test_parallel_pulls_share_what_they_can(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/p1:v1", [BASE, TOP])
    registry.push("library/p2:v1", [BASE, OTHER])

    async def main() -> None:
        async with images(tmp_path / "store", registry.mirrors) as node:
            wanted = ["p1:v1", "p2:v1", "p1:v1", "docker.io/library/p2:v1", "p1:v1"]
            pulled = await asyncio.gather(*map(node.pull_image, wanted))
            assert len({image.id for image in pulled}) == 2
            assert left(tmp_path / "store")["layers"] == 3
            await asyncio.gather(node.remove_image("p1:v1"), node.pull_image("p2:v1"))
            assert left(tmp_path / "store")["layers"] == 2

    asyncio.run(main())


def test_a_cancelled_pull_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/big:v1", [layer({"data": os.urandom(20_000_000)})])

    async def main() -> None:
        async with images(tmp_path / "store", registry.mirrors) as node:
            for seconds in (0, 0.01, 0.06, 0.12, 0.2):
                task = asyncio.get_running_loop().create_task(node.pull_image("big:v1"))
                await asyncio.sleep(seconds)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                if not task.cancelled():  # a fast machine was done by then
                    assert seconds > 0
                    await node.remove_image("big:v1")
                assert left(tmp_path / "store") == NOTHING
            await node.pull_image("big:v1")
            await node.remove_image("big:v1")
        assert left(tmp_path / "store") == NOTHING

    asyncio.run(main())


def test_credentials(private_registry: Registry, tmp_path: Path) -> None:
    private_registry.push("team/app:v1", [BASE], user="carob:secret")
    name = f"{private_registry.address}/team/app:v1"

    async def main() -> None:
        async with images(tmp_path / "store") as node:
            for auth in (None, RegistryAuth(username="carob", password="wrong")):
                with pytest.raises(
                    RuntimeFailure, match="pull access denied, repository does not exist or may"
                ) as denied:
                    await node.pull_image(name, auth)
                assert denied.value.reason == "ErrImagePull"
            image = await node.pull_image(name, RegistryAuth(username="carob", password="secret"))
            assert image.tags == [name]
            with pytest.raises(RuntimeFailure):
                await node.pull_image(name)

    asyncio.run(main())


def test_pulls_that_fail_say_why_and_leave_nothing(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/there:v1", [BASE])
    registry.push("library/devices:v1", [device()])
    here = registry.address

    async def main() -> None:
        async with images(tmp_path / "store") as node:
            for name, message, reason in (
                ("BAD", "must be lowercase", "InvalidImageName"),
                (
                    f"{here}/library/nothing:v1",
                    f'failed to pull and unpack image "{here}/library/nothing:v1": failed to resolve reference '
                    f'"{here}/library/nothing:v1": {here}/library/nothing:v1: not found',
                    "ErrImagePull",
                ),
                (f"{here}/library/there:v2", "there:v2: not found", "ErrImagePull"),
                (f"{here}/library/there@sha256:{'0' * 64}", "not found", "ErrImagePull"),
                (f"127.0.0.1:{free_port()}/a", "connection refused", "ErrImagePull"),
                (f"{here}/library/devices:v1", "device node, which is refused", "ErrImagePull"),
            ):
                with pytest.raises(RuntimeFailure, match=message.replace("(", r"\(")) as failed:
                    await node.pull_image(name)
                assert failed.value.reason == reason
                assert left(tmp_path / "store") == NOTHING

    asyncio.run(main())


def device() -> bytes:
    info = tarfile.TarInfo("dev-sda")
    info.type = tarfile.BLKTYPE
    return info.tobuf() + bytes(1024)


def test_a_mirror_that_is_down_is_passed_over(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/over:v1", [BASE])
    down = Mirror(f"127.0.0.1:{free_port()}", insecure=True)

    async def main() -> None:
        mirrors = {"docker.io": [down, *registry.mirrors["docker.io"]], registry.address: [down]}
        async with images(tmp_path / "store", mirrors) as node:
            assert (await node.pull_image("over:v1")).tags == ["docker.io/library/over:v1"]
            assert (await node.pull_image(f"{registry.address}/library/over:v1")).tags[0].startswith("127.0.0.1")

    asyncio.run(main())


def test_a_manifest_list_gives_this_machines_platform(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/many:one", [BASE])
    raw = subprocess.check_output(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry.address}/library/many:one"]
    )
    media = json.loads(raw)["mediaType"]
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
            "manifests": [
                {
                    "mediaType": media,
                    "digest": digest(raw),
                    "size": len(raw),
                    "platform": {"os": "linux", "architecture": manifests.architecture()},
                }
            ],
        }
    ).encode()
    put(registry, "library/many", "all", index, "application/vnd.docker.distribution.manifest.list.v2+json")

    async def main() -> None:
        async with images(tmp_path / "store", registry.mirrors) as node:
            image = await node.pull_image("many:all")
            assert image.digests == [f"docker.io/library/many@{digest(index)}"]
            assert await node.pull_image("many:all") == image

    asyncio.run(main())


def put(registry: Registry, repository: str, tag: str, body: bytes, media: str) -> None:
    head = f"PUT /v2/{repository}/manifests/{tag} HTTP/1.0\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", registry.port)) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        assert b"201" in connection.recv(4096)
