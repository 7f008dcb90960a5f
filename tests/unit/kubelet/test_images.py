"""Images for containers: pull policies, back-off, one pull for many."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from carob.base.clock import VirtualClock
from carob.kubelet.credentials import PullSecret
from carob.kubelet.events import PodEvents
from carob.kubelet.failures import StepFailure
from carob.kubelet.images import Images
from carob.kubelet.pull_records import NEVER_VERIFY, PRELOADED, PullRecords, policy
from carob.runtime.types import Image, RegistryAuth, RuntimeFailure
from tests.fakes.runtime import FakeRuntime
from tests.unit.kubelet.pods import container, pod


class Recorder:
    def __init__(self) -> None:
        self.told: list[str] = []

    def event(self, regarding: Any, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        self.told.append(f"{kind} {reason}: {message}")


class World:
    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.runtime = FakeRuntime(self.clock.now)
        self.recorder = Recorder()
        self.folder = folder
        self.images = self.images_of(self.runtime)

    def images_of(self, runtime: FakeRuntime, verification: str = PRELOADED) -> Images:
        return Images(runtime, self.clock, 3, PullRecords(str(self.folder), policy(verification)))

    async def ensure(self, policy: str = "IfNotPresent", name: str = "web:1") -> Image:
        events = PodEvents(self.recorder, pod())  # type: ignore[arg-type]
        return await self.images.ensure("u-1", container(image=name, imagePullPolicy=policy), [], events)

    async def refused(self, policy: str = "IfNotPresent") -> tuple[str, str]:
        with pytest.raises(StepFailure) as caught:
            await self.ensure(policy)
        return caught.value.reason, caught.value.message


def has(world: World, name: str = "web:1") -> None:
    world.runtime.pullable[name] = Image(id=f"sha256:{name}", tags=[name], size_bytes=1234)


def test_a_pull_is_told_with_the_time_it_took(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        has(world)
        assert (await world.ensure()).size_bytes == 1234
        assert world.recorder.told == [
            'Normal Pulling: Pulling image "web:1"',
            'Normal Pulled: Successfully pulled image "web:1" in 1ms (1ms including waiting). Image size: 1234 bytes.',
        ]
        world.recorder.told.clear()
        await world.ensure()
        present = 'Container image "web:1" already present on machine and can be accessed by the pod'
        assert world.recorder.told == [f"Normal Pulled: {present}"]

    asyncio.run(main())


def test_always_asks_the_registry_and_never_does_not(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.runtime.add_image("web:1")
        with pytest.raises(StepFailure):
            await world.ensure("Always")
        assert ("pull_image", "web:1") in world.runtime.calls
        await world.ensure("Never")
        del world.runtime.images["web:1"]
        text = 'Container image "web:1" is not present with pull policy of Never'
        assert await world.refused("Never") == ("ErrImageNeverPull", text)

    asyncio.run(main())


def test_a_pull_that_failed_backs_off(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        reason, message = await world.refused()
        assert reason == "ErrImagePull"
        pulls = len(world.runtime.calls)
        assert await world.refused() == ("ImagePullBackOff", f'Back-off pulling image "web:1": ErrImagePull: {message}')
        assert len(world.runtime.calls) == pulls
        assert world.images.wait_seconds("u-1", "web:1") == 10
        await world.clock.advance(10)
        assert (await world.refused())[0] == "ErrImagePull"
        assert world.images.wait_seconds("u-1", "web:1") == 20
        await world.clock.advance(20)
        has(world)
        await world.ensure()
        assert world.images.wait_seconds("u-1", "web:1") == 0

    asyncio.run(main())


def test_an_image_is_pulled_by_one_at_a_time(tmp_path: Path) -> None:
    class Slow(FakeRuntime):
        at_once = most = 0

        async def pull_image(self, name: str, *args: Any, **more: Any) -> Image:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
            return await super().pull_image(name, *args, **more)

    async def main() -> None:
        world = World(tmp_path)
        runtime = Slow()
        world.images = world.images_of(runtime)
        runtime.pullable["web:1"] = Image(id="sha256:1", tags=["web:1"])
        await asyncio.gather(*(world.ensure("Always") for _ in range(5)))
        assert runtime.most == 1

    asyncio.run(main())


def test_a_runtime_that_cannot_look_is_told(tmp_path: Path) -> None:
    class Blind(FakeRuntime):
        async def image_status(self, name: str) -> Image | None:
            raise RuntimeFailure("no disk")

    async def main() -> None:
        world = World(tmp_path)
        world.images = world.images_of(Blind())
        assert await world.refused() == ("ImageInspectError", 'Failed to inspect image "web:1": no disk')

    asyncio.run(main())


def test_a_private_image_on_the_node_is_not_for_pods_that_could_not_pull_it(tmp_path: Path) -> None:
    """Source: test/e2e/common/node/image_credential_pulls.go."""

    class Private(FakeRuntime):
        async def pull_image(self, name: str, auth: Any = None, *more: Any) -> Image:
            if auth is None or auth.password != "secret":
                raise RuntimeFailure("unauthorized", "ErrImagePull")
            return await super().pull_image(name)

    async def main() -> None:
        world = World(tmp_path)
        runtime = Private()
        world.images = world.images_of(runtime)
        image = runtime.pullable["web:1"] = Image(id="sha256:1", tags=["web:1"])
        events = PodEvents(world.recorder, pod())  # type: ignore[arg-type]
        wrong = PullSecret("default", "wrong", "u-1", RegistryAuth(username="carob", password="bad"))
        right = PullSecret("default", "right", "u-2", RegistryAuth(username="carob", password="secret"))
        wanted = container(image="web:1", imagePullPolicy="IfNotPresent")
        assert (await world.images.ensure("u-1", wanted, [wrong, right], events)).id == image.id
        assert await world.images.present(wanted) is None
        world.recorder.told.clear()
        await world.images.ensure("u-2", wanted, [right], events)
        assert len(world.recorder.told) == 1, "it is there, and who brings the secret need not pull it"
        assert (await world.refused())[0] == "ErrImagePull"
        text = 'Container image "web:1" is not present with pull policy of Never'
        assert await world.refused("Never") == ("ErrImageNeverPull", text)
        world.images = world.images_of(runtime, NEVER_VERIFY)
        await world.ensure()

    asyncio.run(main())
