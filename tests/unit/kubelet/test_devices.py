"""Devices on the node: drivers that come and go over their sockets, claims that are prepared and given back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.api.user import UserInfo
from carob.base.clock import SystemClock, VirtualClock
from carob.base.tasks import TaskGroup
from carob.client.rest import Client
from carob.kubelet.devices.claims import PreparedClaim, PreparedDevice, cdi_names
from carob.kubelet.devices.failures import PrepareFailure
from carob.kubelet.devices.node import WIPE_SECONDS, NodeDevices
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport
from tests.fakes.device_driver import FakeDriver

DRIVER = "gpu.example.com"


def pod(name: str, *claims: str, uid: str = "") -> core_v1.Pod:
    wishes = [{"name": one, "resourceClaimName": one} for one in claims]
    asked = [{"name": one} for one in claims]
    container = {"name": "main", "image": "web", "resources": {"claims": asked}}
    tree = {
        "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-{name}"},
        "spec": {"containers": [container], "resourceClaims": wishes},
    }
    return codec.from_tree(core_v1.Pod, tree)


class Api:
    """Answers for claims and slices; `asked` are the requests that it got."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.slices: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def claim(self, name: str, *pods: str, driver: str = DRIVER) -> None:
        result = {"request": "r", "driver": driver, "pool": "pool", "device": "one"}
        self.claims[name] = {
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-of-{name}"},
            "status": {
                "allocation": {"devices": {"results": [result]}},
                "reservedFor": [{"resource": "pods", "name": one, "uid": f"uid-{one}"} for one in pods],
            },
        }

    def handle(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.path}?{request.query}")
        if request.path.endswith("/resourceslices"):
            return Response(200, orjson.dumps({"items": self.slices, "metadata": {}}))
        name = request.path.rpartition("/")[2]
        if name not in self.claims:
            words = f'resourceclaims.resource.k8s.io "{name}" not found'
            status = {"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": words}
            return Response(404, orjson.dumps(status))
        return Response(200, orjson.dumps(self.claims[name]))


class World:
    def __init__(self, root: Path, api: Api, group: TaskGroup) -> None:
        self.root = str(root)
        self.api = api
        self.clock = VirtualClock()
        self.changes = asyncio.Semaphore(0)
        self._group = group
        self.task: asyncio.Task[None] | None = None
        self.devices = self._make()

    def _make(self) -> NodeDevices:
        client = Client(MemoryTransport(self.api.handle, UserInfo("node", ())))
        return NodeDevices(client, self.clock, "node-0", self.root, self.changes.release)

    def start(self) -> None:
        self.devices.open()
        self.task = self._group.spawn(self.devices.run(self._group), "devices")

    async def restart(self) -> None:
        """Another kubelet takes over."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.devices = self._make()
        self.start()

    async def driver(self, name: str = DRIVER, **more: Any) -> FakeDriver:
        made = FakeDriver(name, self.root, **more)
        await made.start()
        await self.until(lambda: bool(made.told))
        return made

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await self.clock.advance(0.05)
                await SystemClock().sleep(0.005)


def in_world(root: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with TaskGroup() as group:
            world = World(root, Api(), group)
            world.start()
            try:
                await body(world)
            finally:
                group.cancel()

    asyncio.run(main())


async def refused(world: World, one: core_v1.Pod) -> str:
    with pytest.raises(PrepareFailure) as failure:
        await world.devices.prepare(one)
    return str(failure.value)


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # paths of sockets may have 107 bytes
    return tmp_path_factory.mktemp("k")


def test_a_driver_registers_prepares_and_takes_back(root: Path) -> None:
    async def body(world: World) -> None:
        world.api.claim("card", "web", "db")
        web, db = pod("web", "card"), pod("db", "card")
        assert await refused(world, web) == f"DRA driver {DRIVER} is not registered"
        driver = await world.driver()
        assert driver.told == [(True, "")]
        await asyncio.wait_for(world.changes.acquire(), 30)
        await world.devices.prepare(web)
        await world.devices.prepare(web)
        await world.devices.prepare(db)
        assert driver.calls == [("prepare", ["card"])]
        assert world.devices.cdi_devices(web, web.spec.containers[0]) == [f"{DRIVER}/device=card"]
        await world.devices.unprepare("uid-web")
        assert driver.prepared
        await world.devices.unprepare("uid-db")
        await world.devices.unprepare("uid-db")
        assert driver.calls[1:] == [("unprepare", ["card"])]
        assert world.devices.pods() == set()
        await driver.stop()

    in_world(root, body)


def test_a_claim_that_was_made_for_extended_resources_goes_to_the_containers_that_ask(root: Path) -> None:
    async def body(world: World) -> None:
        world.api.claim("extended", "web")
        owner = {"kind": "Pod", "name": "web", "uid": "uid-web", "controller": True}
        world.api.claims["extended"]["metadata"]["ownerReferences"] = [owner]
        driver = await world.driver()
        web = pod("web")
        web.status.extended_resource_claim_status = core_v1.PodExtendedResourceClaimStatus(
            resource_claim_name="extended",
            request_mappings=[
                core_v1.ContainerExtendedResourceRequest(
                    container_name="main", resource_name="example.com/gpu", request_name="r"
                )
            ],
        )
        await world.devices.prepare(web)
        assert world.devices.cdi_devices(web, web.spec.containers[0]) == [f"{DRIVER}/device=extended"]
        assert world.devices.cdi_devices(web, core_v1.Container(name="other")) == []
        await world.devices.unprepare("uid-web")
        assert not driver.prepared
        await driver.stop()

    in_world(root, body)


def test_the_next_kubelet_knows_what_is_prepared_and_gives_it_back(root: Path) -> None:
    async def body(world: World) -> None:
        world.api.claim("card", "web")
        web = pod("web", "card")
        driver = await world.driver()
        await world.devices.prepare(web)
        await world.restart()
        assert world.devices.pods() == {"uid-web"}
        assert world.devices.cdi_devices(web, web.spec.containers[0]) == [f"{DRIVER}/device=card"]
        await world.until(lambda: len(driver.told) == 2)
        # the API knows neither Pod nor claim any more
        world.api.claims.clear()
        await world.devices.unprepare("uid-web")
        assert not driver.prepared
        await world.restart()
        assert world.devices.pods() == set()
        await driver.stop()

    in_world(root, body)


def test_why_a_claim_cannot_be_prepared(root: Path) -> None:
    async def body(world: World) -> None:
        driver = await world.driver(versions=("v1beta1.DRAPlugin",))
        web = pod("web", "card")
        assert await refused(world, web) == (
            'failed to fetch ResourceClaim card referenced by pod web: resourceclaims.resource.k8s.io "card" not found'
        )
        world.api.claim("card", "somebody")
        assert await refused(world, web) == ("pod web(uid-web) is not allowed to use ResourceClaim card(uid-of-card)")
        world.api.claim("card", "web")
        driver.refuse = "no such device"
        words = "NodePrepareResources failed for ResourceClaim card: no such device"
        assert await refused(world, web) == words
        driver.refuse, driver.skip = "", True
        assert await refused(world, web) == "NodePrepareResources skipped 1 ResourceClaims"
        with pytest.raises(PrepareFailure, match="ResourceClaim card is not prepared for pod web"):
            world.devices.cdi_devices(web, web.spec.containers[0])
        # what was begun is given back, although it never got ready
        await world.devices.unprepare("uid-web")
        assert driver.calls[-1] == ("unprepare", ["card"])
        driver.skip = False
        await world.devices.prepare(web)
        await driver.stop()
        await world.until(lambda: not world.devices._names())
        with pytest.raises(PrepareFailure, match=f"DRA driver {DRIVER} is not registered"):
            await world.devices.unprepare("uid-web")

    in_world(root, body)


def test_a_driver_that_is_no_such_is_told_so(root: Path) -> None:
    async def body(world: World) -> None:
        strange = FakeDriver("strange.example.com", world.root)
        strange.type = "CSIPlugin"
        await strange.start()
        await world.until(lambda: bool(strange.told))
        assert strange.told == [(False, "no handler registered for plugin type: CSIPlugin")]
        old = await world.driver("old.example.com", versions=("v1alpha3.DRAPlugin",))
        assert old.told == [
            (
                False,
                "DRA driver old.example.com supports none of v1.DRAPlugin, v1beta1.DRAPlugin, only v1alpha3.DRAPlugin",
            )
        ]
        await strange.stop()
        await old.stop()

    in_world(root, body)


def test_what_a_driver_offered_is_taken_back_when_it_does_not_come_again(root: Path) -> None:
    async def body(world: World) -> None:
        world.api.slices = [{"spec": {"driver": "gone.example.com"}}, {"spec": {"driver": DRIVER}}]
        driver = await world.driver()
        await world.clock.advance(WIPE_SECONDS)

        def wiped() -> list[str]:
            return [one.rpartition("%3D")[2] for one in world.api.asked if one.startswith("DELETE")]

        await world.until(lambda: bool(wiped()))
        assert wiped() == ["gone.example.com"]
        await driver.stop()
        await world.until(lambda: not world.devices._names())
        assert wiped() == ["gone.example.com"]
        await world.clock.advance(WIPE_SECONDS)
        await world.until(lambda: len(wiped()) == 2)
        assert wiped()[1] == DRIVER

    in_world(root, body)


@pytest.mark.parametrize(
    ("request_name", "wanted"), [("", ["a", "b", "c"]), ("x", ["a", "c"]), ("y", ["b", "c"]), ("y/best", ["b", "c"])]
)
def test_what_a_container_gets_of_a_claim(request_name: str, wanted: list[str]) -> None:
    devices = [
        PreparedDevice(requests=["x"], cdi=["a"]),
        PreparedDevice(requests=["y/best"], cdi=["b"]),
        PreparedDevice(cdi=["c"]),
    ]
    claim = PreparedClaim(uid="u", namespace="default", name="card", drivers={"d": devices})
    assert list(cdi_names(claim, request_name)) == wanted
