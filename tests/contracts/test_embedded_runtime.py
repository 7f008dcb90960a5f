"""What the embedded runtime promises beyond the seam: the kernel's facts about sandboxes and containers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from carob.host.real import RealHost
from carob.runtime.types import (
    ContainerState,
    Device,
    DnsConfig,
    Exited,
    Mount,
    MountPropagation,
    NamespaceMode,
    Process,
    Resources,
    Runtime,
    RuntimeFailure,
    SandboxState,
    SeccompProfile,
    SecurityContext,
)
from tests.contracts.runtime_worlds import RealWorld, container, sandbox, traces
from tests.contracts.test_runtime import SLEEP, Ends, output, started

pytestmark = [pytest.mark.root, pytest.mark.slow]

# an interactive shell would throw away what was typed before its prompt
SHELL = ["sh", "-c", "trap 'echo cau''ght' INT; while read -r x; do eval \"$x\"; done"]
CRI_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\S+ (stdout|stderr) [FP] (.*)$")


@pytest.fixture
def world(real_world: RealWorld) -> RealWorld:
    return real_world


def exists(path: str) -> bool:
    return os.path.exists(path)


def read(path: str) -> str:
    return Path(path).read_text()


def log_lines(path: str) -> list[tuple[str, str]]:
    """Stream and text of each line of a CRI log."""
    found = [CRI_LINE.match(line) for line in Path(path).read_text().splitlines()]
    assert all(found)
    return [(m[1], m[2]) for m in found if m is not None]


async def said(runtime: Runtime, container_id: str, command: str) -> str:
    """Standard output of a shell command in the container."""
    code, out, err = await runtime.exec_sync(container_id, ["sh", "-c", command], 20)
    assert code == 0, err
    return out.decode().strip()


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is outside of this loop
            await asyncio.sleep(0.01)


def test_logs_are_in_the_cri_format_and_survive_reopening(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        ends = Ends(runtime)
        script = "echo one; echo two >&2; read x; echo $x; read y; echo $y; exit 0"
        sandbox_id, container_id = await started(runtime, world, "sh", "-c", script, stdin=True)
        path = (await runtime.container_status(container_id)).log_path
        attached = await runtime.attach(container_id)
        await attached.write(b"three\n")
        await soon(lambda: "three" in Path(path).read_text())
        os.rename(path, path + ".1")
        await runtime.reopen_log(container_id)
        await soon(lambda: exists(path))
        await attached.write(b"four\n")
        await ends.of(sandbox_id, container_id)
        await attached.close()
        assert sorted(log_lines(path + ".1")) == [("stderr", "two"), ("stdout", "one"), ("stdout", "three")]
        assert log_lines(path) == [("stdout", "four")]
        await runtime.remove_sandbox(sandbox_id)
        assert exists(path)

    world.run(body)


def test_attach_has_both_streams_and_the_exit_code(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        script = "read x; echo got $x; echo bad >&2; exit 6"
        sandbox_id, container_id = await started(runtime, world, "sh", "-c", script, stdin=True, stdin_once=True)
        attached = await runtime.attach(container_id)
        await attached.write(b"hello\n")
        await attached.close_stdin()
        assert await output(attached) == (b"got hello\n", b"bad\n")
        assert await attached.wait() == 6
        await attached.close()
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


async def read_until(process: Process, wanted: bytes) -> bytes:
    heard = b""
    try:
        async with asyncio.timeout(20):
            while wanted not in heard:
                piece = await process.read()
                assert piece is not None, heard
                heard += piece[1]
    except TimeoutError:
        raise AssertionError(f"{wanted!r} did not come after {heard!r}") from None
    return heard


def test_exec_on_a_terminal_resizes_and_ends(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        process = await runtime.exec(container_id, SHELL, stdin=True, tty=True)
        process.resize(132, 40)
        await process.write(b"stty size; test -t 0 && echo a-term''inal; echo $TERM\n")
        heard = await read_until(process, b"xterm")
        assert b"40 132" in heard
        assert b"a-terminal" in heard
        await process.write(b"sh -c 'echo beg\"\"un; exec sleep 600'\n")
        await read_until(process, b"begun")
        await process.write(b"\x03")  # Ctrl-C ends the sleep, not the shell
        await read_until(process, b"caught")
        await process.write(b"exit 9\n")
        await output(process)
        assert await process.wait() == 9
        await process.close()
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_exec_of_a_missing_command_on_a_terminal(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        process = await runtime.exec(container_id, ["/bin/nope"], stdin=True, tty=True)
        heard = await output(process)
        assert b"no such file or directory" in heard[0] + heard[1]
        assert await process.wait() == 127
        await process.close()
        process = await runtime.exec(container_id, ["/etc/passwd"], stdin=False, tty=False)
        assert b'exec: "/etc/passwd": permission denied' in (await output(process))[1]
        assert await process.wait() == 126
        await process.close()
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_a_container_on_a_terminal_is_attached_and_resized(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SHELL, stdin=True, tty=True)
        attached = await runtime.attach(container_id)
        attached.resize(100, 30)
        await attached.write(b"stty size\n")
        await read_until(attached, b"30 100")
        await attached.write(b"exit 3\n")
        assert await attached.wait() == 3
        await attached.close()
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_a_large_output_comes_whole(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        process = await runtime.exec(container_id, ["sh", "-c", "yes | head -c 3000000"], stdin=False, tty=False)
        assert len((await output(process))[0]) == 3_000_000
        await process.close()
        process = await runtime.exec(container_id, ["wc", "-c"], stdin=True, tty=False)
        await process.write(b"x" * 2_000_000)
        await process.close_stdin()
        assert (await output(process))[0].strip() == b"2000000"
        await process.close()
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_a_port_of_the_pod_is_reached(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        script = "while true; do nc -l -p 8080 -e cat; done"
        sandbox_id, container_id = await started(runtime, world, "sh", "-c", script)
        await soon_listening(runtime, container_id)
        duplex = await runtime.port_forward(sandbox_id, 8080)
        await duplex.write(b"ping")
        assert await duplex.read() == b"ping"
        await duplex.write_eof()
        async with asyncio.timeout(20):
            while await duplex.read():
                pass
        await duplex.close()
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


async def soon_listening(runtime: Runtime, container_id: str) -> None:
    command = ["sh", "-c", "while ! grep -q 1F90 /proc/net/tcp*; do sleep 0.05; done"]
    assert (await runtime.exec_sync(container_id, command, 20))[0] == 0


def test_one_container_is_killed_for_memory_and_the_other_lives(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        ends = Ends(runtime)
        sandbox_id, other = await started(runtime, world, *SLEEP)
        limit = Resources(memory_limit=16 << 20)
        greedy = await runtime.create_container(sandbox_id, container("tail", "/dev/zero", name="g", resources=limit))
        await runtime.start_container(greedy)
        await ends.of(sandbox_id, greedy)
        status = await runtime.container_status(greedy)
        assert (status.exit_code, status.reason) == (137, "OOMKilled")
        assert (await runtime.container_status(other)).state is ContainerState.RUNNING
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_limits_and_counters_are_the_kernels(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        limits = Resources(cpu_shares=200, cpu_quota=50_000, memory_limit=64 << 20, pids_limit=50)
        script = "dd if=/dev/zero of=/tmp/file bs=1024 count=2048; sleep 1000"
        sandbox_id, container_id = await started(runtime, world, "sh", "-c", script, resources=limits)
        group = "/sys/fs/cgroup"
        show = (
            f"cat {group}/memory.max {group}/pids.max 2>/dev/null || "
            f"cat {group}/memory/memory.limit_in_bytes {group}/pids/pids.max {group}/cpu/cpu.shares"
        )
        assert (await said(runtime, container_id, show)).split()[:2] == [str(64 << 20), "50"]
        await said(runtime, container_id, "while test $(wc -c < /tmp/file) -lt 2097152; do sleep 0.05; done")
        stats = (await runtime.container_stats())[0]
        assert stats.memory_usage_bytes > 0
        assert stats.cpu_usage_nanoseconds > 0
        assert stats.rootfs_inodes_used >= 2  # blocks are counted once the kernel writes them
        assert stats.process_count >= 1
        whole = next(one for one in await runtime.sandbox_stats() if one.id == sandbox_id)
        assert whole.process_count > stats.process_count, "the pause process counts too"
        assert whole.memory_usage_bytes >= stats.memory_usage_bytes // 2
        await runtime.update_resources(container_id, Resources(memory_limit=32 << 20, pids_limit=20))
        assert (await said(runtime, container_id, show)).split()[:2] == [str(32 << 20), "20"]
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_the_places_of_usual_mounts_are_not_made_in_each_container(world: RealWorld) -> None:
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    folder = world.logs.parent / "volumes"

    async def body(runtime: Runtime) -> None:
        (folder / "token").mkdir(parents=True)
        (folder / "hosts").write_text("127.0.0.1 localhost\n")
        hosts = Mount(container_path="/etc/hosts", host_path=str(folder / "hosts"))
        secret = Mount(container_path=token, host_path=str(folder / "token"))
        made = await runtime.run_sandbox(sandbox(world, dns=DnsConfig(servers=["10.43.0.10"])))
        whole = await runtime.create_container(made.id, container(*SLEEP, mounts=[hosts, secret]))
        await runtime.start_container(whole)
        assert os.listdir(f"{world.places.writable(whole)}/upper") == []
        told = await said(runtime, whole, f"cat /etc/hosts /etc/resolv.conf; ls -d {token}")
        assert "127.0.0.1 localhost" in told
        assert "nameserver 10.43.0.10" in told
        assert token in told
        # nobody else has them
        plain = await runtime.create_container(made.id, container(*SLEEP, name="plain", mounts=[hosts]))
        await runtime.start_container(plain)
        assert token not in await said(runtime, plain, "find / -xdev -name serviceaccount; true")
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_containers_of_a_pod_share_name_loopback_ipc_and_memory(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, first = await started(runtime, world, "sh", "-c", "while true; do nc -l -p 8080 -e cat; done")
        second = await runtime.create_container(sandbox_id, container(*SLEEP, name="second"))
        await runtime.start_container(second)
        assert await said(runtime, first, "hostname") == (await runtime.sandbox_status(sandbox_id)).config.hostname
        assert await said(runtime, second, "cat /etc/hostname; echo $HOSTNAME") == "\n".join(
            [await said(runtime, first, "hostname")] * 2
        )
        await said(runtime, first, "echo shared > /dev/shm/file")
        assert await said(runtime, second, "cat /dev/shm/file") == "shared"
        await soon_listening(runtime, first)
        assert await said(runtime, second, "echo ping | nc -w 2 127.0.0.1 8080") == "ping"
        for kind in ("net", "uts", "ipc"):
            show = f"readlink /proc/self/ns/{kind}"
            assert await said(runtime, first, show) == await said(runtime, second, show)
        assert await said(runtime, first, "readlink /proc/self/ns/pid") != await said(
            runtime, second, "readlink /proc/self/ns/pid"
        )
        assert (await said(runtime, first, "cat /proc/1/cmdline")).startswith("sh")
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_a_shared_process_namespace_has_the_pause_process_first(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        ends = Ends(runtime)
        made = await runtime.run_sandbox(sandbox(world, pid=NamespaceMode.POD))
        security = SecurityContext(pid=NamespaceMode.POD)
        ids = []
        for name in ("a", "b"):
            ids.append(await runtime.create_container(made.id, container(*SLEEP, name=name, security=security)))
            await runtime.start_container(ids[-1])
        assert "/pause" in await said(runtime, ids[0], "cat /proc/1/cmdline")
        seen = await said(runtime, ids[0], "ps")
        assert seen.count("sleep 1000") == 2
        await runtime.stop_container(ids[0], 0)
        await ends.of(made.id, ids[0])
        assert (await runtime.container_status(ids[1])).state is ContainerState.RUNNING
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_a_debug_container_joins_its_targets_processes(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, target = await started(runtime, world, "sleep", "4242")
        security = SecurityContext(pid=NamespaceMode.TARGET, target_container_id=target)
        debug = await runtime.create_container(sandbox_id, container(*SLEEP, name="debug", security=security))
        await runtime.start_container(debug)
        assert "sleep 4242" in await said(runtime, debug, "ps")
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_a_pod_on_the_nodes_namespaces(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        config = sandbox(world, network=NamespaceMode.NODE, ipc=NamespaceMode.NODE, pid=NamespaceMode.NODE)
        made = await runtime.run_sandbox(config)
        assert (made.ips, made.netns_path) == ([], "")
        security = SecurityContext(pid=NamespaceMode.NODE)
        container_id = await runtime.create_container(made.id, container(*SLEEP, security=security))
        await runtime.start_container(container_id)
        for kind in ("net", "uts", "ipc", "pid"):
            assert await said(runtime, container_id, f"readlink /proc/self/ns/{kind}") == os.readlink(
                f"/proc/self/ns/{kind}"
            )
        await runtime.remove_sandbox(made.id)

    world.run(body)


STATUS = "grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs)' /proc/self/status"


def test_the_default_security_and_its_opposites(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(sandbox(world))

        async def shown(name: str, **security: object) -> dict[str, str]:
            context = SecurityContext(**security)  # type: ignore[arg-type]
            new = await runtime.create_container(made.id, container(*SLEEP, name=name, security=context))
            await runtime.start_container(new)
            lines = (await said(runtime, new, STATUS)).splitlines()
            return {line.split(":")[0]: line.split(":")[1].strip() for line in lines}

        plain = await shown("plain")
        assert plain["CapEff"] == "00000000a80425fb"
        assert plain["Seccomp"] == "2"
        assert plain["NoNewPrivs"] == "0"
        strict = await shown(
            "strict", drop_capabilities=["ALL"], add_capabilities=["NET_ADMIN"], no_new_privileges=True
        )
        assert int(strict["CapEff"], 16) == 1 << 12
        assert strict["NoNewPrivs"] == "1"
        free = await shown("free", seccomp=SeccompProfile(kind="Unconfined"), add_capabilities=["SYS_ADMIN"])
        assert free["Seccomp"] == "0"
        assert int(free["CapEff"], 16) & 1 << 21
        privileged = await shown("privileged", privileged=True)
        assert privileged["Seccomp"] == "0"
        assert int(privileged["CapBnd"], 16) == int(plain_bounding(), 16)
        await runtime.remove_sandbox(made.id)

    world.run(body)


def plain_bounding() -> str:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd"):
            return line.split()[1]
    raise AssertionError("no CapBnd")


def test_what_the_default_profile_refuses(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        assert (await runtime.exec_sync(container_id, ["mount", "-t", "tmpfs", "x", "/tmp"], 20))[0] != 0
        assert (await runtime.exec_sync(container_id, ["sh", "-c", "echo 1 > /proc/sys/kernel/panic"], 20))[0] != 0
        assert await said(runtime, container_id, "cat /proc/kcore | head -c 1 | wc -c") == "0"
        assert (await runtime.exec_sync(container_id, ["mknod", "/tmp/disk", "b", "254", "0"], 20))[0] == 0
        assert (await runtime.exec_sync(container_id, ["head", "-c1", "/tmp/disk"], 20))[0] != 0
        assert await said(runtime, container_id, "echo x > /dev/null; head -c 1 /dev/zero | wc -c") == "1"
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_users_groups_and_variables_are_the_images_and_the_pods(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(sandbox(world))
        security = SecurityContext(run_as_user=1000, supplemental_groups=[3000], readonly_rootfs=True)
        config = container(*SLEEP, security=security, env=[("COLOUR", "pod"), ("EMPTY", "")], working_dir="/tmp")
        container_id = await runtime.create_container(made.id, config)
        await runtime.start_container(container_id)
        assert await said(runtime, container_id, "id") == (
            "uid=1000(web) gid=1001(web) groups=1001(web),2000(extra),3000"
        )
        assert await said(runtime, container_id, "echo $HOME $COLOUR; pwd") == "/home/web pod\n/tmp"
        assert (await runtime.exec_sync(container_id, ["touch", "/tmp/x"], 20))[0] != 0
        named = SecurityContext(run_as_username="web", run_as_group=2000)
        other = await runtime.create_container(made.id, container(*SLEEP, name="named", security=named))
        await runtime.start_container(other)
        assert await said(runtime, other, "id") == "uid=1000(web) gid=2000(extra) groups=2000(extra)"
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_volumes_are_mounted_as_asked(world: RealWorld, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "hosts").write_text("127.0.0.1 localhost pod\n")
        mounts = [
            Mount(container_path="/data/inner", host_path=str(tmp_path / "new"), readonly=True),
            Mount(container_path="/data", host_path=str(tmp_path / "data")),
            Mount(container_path="/etc/hosts", host_path=str(tmp_path / "hosts")),
        ]
        sandbox_id, container_id = await started(runtime, world, *SLEEP, mounts=mounts)
        await said(runtime, container_id, "echo hello > /data/file")
        assert (tmp_path / "data/file").read_text() == "hello\n"
        assert (tmp_path / "new").is_dir()
        assert (await runtime.exec_sync(container_id, ["touch", "/data/inner/x"], 20))[0] != 0
        assert "localhost pod" in await said(runtime, container_id, "cat /etc/hosts")
        await runtime.remove_sandbox(sandbox_id)
        assert exists(f"{tmp_path}/data/file")

    world.run(body)


def test_sysctls_of_the_pod(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(
            sandbox(world, sysctls={"net.ipv4.tcp_syncookies": "0", "kernel.shm_rmid_forced": "1"})
        )
        container_id = await runtime.create_container(made.id, container(*SLEEP))
        await runtime.start_container(container_id)
        show = "cat /proc/sys/net/ipv4/tcp_syncookies /proc/sys/kernel/shm_rmid_forced"
        show += " /proc/sys/net/ipv4/ip_unprivileged_port_start"
        assert (await said(runtime, container_id, show)).split() == ["0", "1", "0"]
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_an_exit_while_no_agent_runs_is_not_missed(world: RealWorld) -> None:
    ids: list[str] = []

    async def first(runtime: Runtime) -> None:
        ids[:] = await started(runtime, world, "sh", "-c", "sleep 0.3; exit 7")

    async def second(runtime: Runtime) -> None:
        status = await runtime.container_status(ids[1])
        assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 7, "Error")
        await runtime.remove_sandbox(ids[0])

    def wait() -> None:
        path = Path(world.places.exits) / ids[1]
        for _ in range(500):
            if path.exists():
                return
            signal.sigtimedwait([], 0.01)

    async def between(runtime: Runtime) -> None:
        del runtime
        await asyncio.to_thread(wait)

    world.run(first, between, second)


def test_a_killed_monitor_ends_its_container(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        ends = Ends(runtime)
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        pid = (await runtime.container_status(container_id)).pid
        monitor = int(read(world.places.bundle(container_id) + "/conmon.pid"))
        os.kill(monitor, signal.SIGKILL)
        await ends.of(sandbox_id, container_id)
        status = await runtime.container_status(container_id)
        assert (status.exit_code, status.reason) == (137, "ContainerStatusUnknown")
        await soon(lambda: not exists(f"/proc/{pid}"))
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_a_killed_pause_process_is_told(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        ends = Ends(runtime)
        made = await runtime.run_sandbox(sandbox(world))
        os.kill(made.pause_pid, signal.SIGKILL)
        await ends.of(made.id, "")
        assert (await runtime.sandbox_status(made.id)).state is SandboxState.NOT_READY
        assert ends.heard == [Exited(made.id, "")]
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_nothing_is_left_of_a_removed_pod(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, _ = await started(runtime, world, *SLEEP)
        made = await runtime.sandbox_status(sandbox_id)
        await runtime.remove_sandbox(sandbox_id)
        places = world.places
        for folder in (places.containers, places.sandboxes, places.crun_root, places.exits, places.streams):
            assert os.listdir(folder) == []
        mounts = read("/proc/thread-self/mountinfo")
        assert sandbox_id not in mounts
        assert not exists(f"/proc/{made.pause_pid}")
        assert world.network.attached == set()
        assert not [t for t in traces(world.logs.parent) if made.config.uid in t]

    world.run(body)


def test_mounts_travel_between_pods_when_asked_and_never_to_the_machine(world: RealWorld, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        def volume(propagation: MountPropagation) -> list[Mount]:
            return [Mount(container_path="/v", host_path=str(tmp_path), propagation=propagation)]

        privileged = SecurityContext(privileged=True)
        both = volume(MountPropagation.BIDIRECTIONAL)
        giver_pod, giver = await started(runtime, world, *SLEEP, mounts=both, security=privileged)
        taker_pod, taker = await started(runtime, world, *SLEEP, mounts=volume(MountPropagation.HOST_TO_CONTAINER))
        other_pod, other = await started(runtime, world, *SLEEP, mounts=volume(MountPropagation.PRIVATE))
        await said(runtime, giver, "mkdir /v/m && mount -t tmpfs x /v/m && echo hello > /v/m/file")
        assert await said(runtime, taker, "cat /v/m/file") == "hello"
        assert await said(runtime, other, "test ! -e /v/m/file && echo hidden") == "hidden"
        assert f"{tmp_path}/m" not in read("/proc/1/mountinfo")
        await said(runtime, giver, "umount /v/m")
        for pod in (giver_pod, taker_pod, other_pod):
            await runtime.remove_sandbox(pod)

    world.run(body)


def test_read_only_means_all_that_lies_below_when_asked(world: RealWorld, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        host = RealHost()
        host.mkdir(f"{tmp_path}/inner")
        host.mount("tmpfs", f"{tmp_path}/inner", "tmpfs")
        mounts = [
            Mount(container_path="/plain", host_path=str(tmp_path), readonly=True),
            Mount(container_path="/deep", host_path=str(tmp_path), readonly=True, recursive_readonly=True),
        ]
        sandbox_id, container_id = await started(runtime, world, *SLEEP, mounts=mounts)
        await said(runtime, container_id, "touch /plain/inner/x")
        assert (await runtime.exec_sync(container_id, ["touch", "/deep/inner/y"], 20))[0] != 0
        assert (await runtime.exec_sync(container_id, ["touch", "/plain/y"], 20))[0] != 0
        await runtime.remove_sandbox(sandbox_id)
        host.umount(f"{tmp_path}/inner")

    world.run(body)


def test_image_volumes_are_writable_under_a_read_only_root(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        world.images.config = {**world.images.config, "Volumes": {"/home/web": {}}}
        security = SecurityContext(readonly_rootfs=True)
        sandbox_id, container_id = await started(runtime, world, *SLEEP, security=security)
        await said(runtime, container_id, "touch /home/web/x")
        assert (await runtime.exec_sync(container_id, ["touch", "/root/x"], 20))[0] != 0
        await runtime.remove_sandbox(sandbox_id)

    before = world.images.config
    try:
        world.run(body)
    finally:
        world.images.config = before


def test_devices_and_profiles_of_the_machine(world: RealWorld, tmp_path: Path) -> None:
    profile = tmp_path / "no-mkdir.json"
    deny = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [deny]}))

    async def body(runtime: Runtime) -> None:
        security = SecurityContext(seccomp=SeccompProfile(kind="Localhost", localhost_path=str(profile)))
        devices = [Device(container_path="/dev/my-null", host_path="/dev/null", permissions="r")]
        sandbox_id, container_id = await started(runtime, world, *SLEEP, security=security, devices=devices)
        assert (await runtime.exec_sync(container_id, ["mkdir", "/tmp/x"], 20))[0] != 0
        assert await said(runtime, container_id, "test -c /dev/my-null && cat /dev/my-null | wc -c") == "0"
        await runtime.remove_sandbox(sandbox_id)
        missing = [Device(container_path="/dev/x", host_path="/etc/passwd")]
        made = await runtime.run_sandbox(sandbox(world))
        with pytest.raises(RuntimeFailure, match="not a device") as failure:
            await runtime.create_container(made.id, container(*SLEEP, devices=missing))
        assert failure.value.reason == "CreateContainerError"
        assert await runtime.list_containers() == []
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_errors_of_making_name_what_is_wrong(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(sandbox(world))
        before = world.images.config
        world.images.config = {"User": "nobody-here", "Cmd": ["sleep", "1"]}
        with pytest.raises(RuntimeFailure, match="unable to find user nobody-here: no matching entries in passwd file"):
            await runtime.create_container(made.id, container(*SLEEP))
        world.images.config = {}
        with pytest.raises(RuntimeFailure, match="no command specified"):
            await runtime.create_container(made.id, container())
        world.images.config = before
        broken = await runtime.create_container(made.id, container("/etc/passwd"))
        with pytest.raises(RuntimeFailure, match="permission denied"):
            await runtime.start_container(broken)
        with pytest.raises(RuntimeFailure, match="no_such_sysctl"):
            await runtime.run_sandbox(sandbox(world, sysctls={"net.no_such_sysctl": "1"}))
        with pytest.raises(RuntimeFailure, match="absolute"):
            await runtime.run_sandbox(sandbox(world, cgroup_parent="kubepods"))
        await runtime.remove_sandbox(made.id)
        assert await runtime.list_sandboxes() == []

    world.run(body)


def test_a_fork_bomb_stays_in_its_limits(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        limit = Resources(pids_limit=20, memory_limit=64 << 20)
        script = "f() { f | f & }; f; while true; do sleep 1; done"
        sandbox_id, _ = await started(runtime, world, "sh", "-c", script, resources=limit)
        await asyncio.sleep(0.3)
        stats = (await runtime.container_stats())[0]
        assert stats.process_count <= 20
        async with asyncio.timeout(20):
            await runtime.remove_sandbox(sandbox_id)

    world.run(body)
