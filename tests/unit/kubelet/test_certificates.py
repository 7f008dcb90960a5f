"""A node's certificates are renewed in time, with new keys, on virtual time; the signing is the controllers' own."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from carob.api.x509 import pem_to_der, subject_and_expiry, validity
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import VirtualClock
from carob.base.ids import SeededRandomness
from carob.client.signing import KUBELET_SERVING, SERVER_USAGES, SigningRefused, Wanted, make_request
from carob.controllers.certificates import read_request, sign
from carob.kubelet.certificates import LONGEST_RETRY_SECONDS, KeptCertificate

START = 1_700_000_000.0
LIFE_SECONDS = 100_000
NAMES = ("n1", "192.0.2.7")


class Signer:
    """Signs at once; `failures` says how often it will not."""

    def __init__(self, pki: Pki, clock: VirtualClock) -> None:
        self._ca = pki.ca.pem()
        self._clock = clock
        self.failures: list[Exception] = []
        self.asked: list[float] = []

    async def __call__(self, wanted: Wanted) -> bytes:
        self.asked.append(self._clock.now())
        if self.failures:
            raise self.failures.pop()
        key, request = make_request(wanted)
        return sign(request, *self._ca, list(wanted.usages), LIFE_SECONDS, self._clock.now()) + key


class World:
    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(START)
        self.signer = Signer(ensure_pki(folder, PkiOptions(), START), self.clock)
        self.names = NAMES
        self.file = folder / "pki" / "server.pem"
        self.kept = KeptCertificate(self.file, self.wanted, self.signer, self.clock, SeededRandomness(1))

    def wanted(self) -> Wanted:
        return Wanted(KUBELET_SERVING, "system:node:n1", ("system:nodes",), self.names, SERVER_USAGES)


def run(folder: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(World(folder))

    asyncio.run(main())


def test_a_request_says_what_is_wanted() -> None:
    wanted = Wanted(KUBELET_SERVING, "system:node:n1", ("system:nodes",), NAMES, SERVER_USAGES)
    facts = read_request(make_request(wanted)[1])
    assert (facts.common_name, facts.organizations) == ("system:node:n1", ("system:nodes",))
    assert (facts.dns_names, facts.addresses) == (("n1",), ("192.0.2.7",))


def test_one_file_has_both_and_is_private_and_kept_while_it_is_good(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        assert not world.kept.good()
        assert await world.kept.ensure()
        assert subject_and_expiry(pem_to_der(world.file.read_bytes()))[:2] == ("system:node:n1", ("system:nodes",))
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(world.file)
        assert stat.S_IMODE(world.file.stat().st_mode) == 0o600
        assert stat.S_IMODE(world.file.parent.stat().st_mode) == 0o700
        assert not await world.kept.ensure()
        # the node has moved: the old one names another place
        world.names = ("n1", "192.0.2.8")
        assert await world.kept.ensure()
        await world.clock.advance(LIFE_SECONDS)
        assert not world.kept.good()

    run(tmp_path, body)


@pytest.mark.parametrize(
    "rubbish", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_replaced(tmp_path: Path, rubbish: bytes) -> None:
    async def body(world: World) -> None:
        world.file.parent.mkdir()
        world.file.write_bytes(rubbish)
        assert await world.kept.ensure()
        assert world.kept.good()

    run(tmp_path, body)


def test_it_is_renewed_between_seven_and_nine_tenths_of_its_life_with_another_key(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.kept.ensure()
        contents = [world.file.read_bytes()]
        task = asyncio.create_task(world.kept.keep(lambda: contents.append(world.file.read_bytes())))
        try:
            for _ in range(30):
                await world.clock.advance(LIFE_SECONDS / 10)
                assert world.kept.good()
        finally:
            task.cancel()
        assert 3 <= len(world.signer.asked) <= 6
        for content, asked in zip(contents, world.signer.asked[1:], strict=False):
            begin, end = validity(pem_to_der(content))
            assert 0.7 <= (asked - begin) / (end - begin) <= 0.9
        assert len({content[content.index(b"PRIVATE") :] for content in contents}) == len(contents)

    run(tmp_path, body)


def test_who_cannot_renew_tries_again_and_again(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.kept.ensure()
        world.signer.failures = [ConnectionResetError("no server"), SigningRefused("Denied: no")] * 5
        renewed: list[bool] = []
        task = asyncio.create_task(world.kept.keep(lambda: renewed.append(True)))
        try:
            await world.clock.advance(LIFE_SECONDS * 0.9)
            while not renewed:
                await world.clock.advance(LONGEST_RETRY_SECONDS)
        finally:
            task.cancel()
        assert world.kept.good()
        tries = world.signer.asked[1:]
        waits = [round(later - sooner) for sooner, later in itertools.pairwise(tries)]
        assert waits == [2, 4, 8, 16, 32, 64, 128, 128, 128, 128]

    run(tmp_path, body)
