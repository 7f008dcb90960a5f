"""Certificates on a server's machine are renewed and shown while everything runs, on virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from carob.api.x509 import pem_to_der, validity
from carob.apiserver.pki import CERTIFICATE_SECONDS, RENEW_BELOW, Pki, PkiOptions, ensure_pki
from carob.base.clock import VirtualClock
from carob.standalone.renewal import LOOK_SECONDS, Renewal

START = 1_700_000_000.0


async def settled(renewal: Renewal, clock: VirtualClock, looks: int) -> None:
    """That many looks, each to its end: the thread that makes certificates does not know virtual time."""
    for _ in range(looks):
        clock_now = clock.now()
        await clock.advance(LOOK_SECONDS)
        assert clock.now() == clock_now + LOOK_SECONDS
        await renewal.look()


def test_what_was_renewed_is_shown_once_and_long_before_the_old_one_ends(tmp_path: Path) -> None:
    async def body() -> None:
        clock = VirtualClock(START)

        def ensure() -> Pki:
            return ensure_pki(tmp_path, PkiOptions(hostname="machine"), clock.now())

        pki = ensure()
        renewal = Renewal(clock, ensure)
        shown: list[tuple[str, float]] = []
        for pair in (pki.server, pki.admin):
            renewal.show(pair.certificate, lambda name=pair.certificate.name: shown.append((name, clock.now())))  # type: ignore[misc]
        _, end = validity(pem_to_der(pki.server.certificate.read_bytes()))
        await settled(renewal, clock, 60)
        assert shown == []
        await clock.advance(CERTIFICATE_SECONDS * (1 - RENEW_BELOW) - 60 * LOOK_SECONDS)
        await settled(renewal, clock, 4)
        assert [name for name, _ in shown] == ["apiserver.crt", "admin.crt"]
        assert all(at < end - 90 * 24 * 3600 for _, at in shown)
        assert validity(pem_to_der(pki.server.certificate.read_bytes()))[1] > end

    asyncio.run(body())


def test_it_looks_by_itself_and_goes_on_when_a_disk_is_full(tmp_path: Path) -> None:
    async def body() -> None:
        clock = VirtualClock(START)
        file = tmp_path / "a.crt"
        file.write_bytes(b"old")
        renewal = Renewal(clock)
        shown: list[bytes] = []
        renewal.show(file, lambda: shown.append(file.read_bytes()))
        task = asyncio.create_task(renewal.run())
        try:
            file.write_bytes(b"new")
            await clock.advance(LOOK_SECONDS - 1)
            assert shown == []
            await clock.advance(1)
            assert shown == [b"new"]
            file.unlink()
            await clock.advance(LOOK_SECONDS)
            file.write_bytes(b"newer")
            await clock.advance(LOOK_SECONDS)
            assert shown == [b"new", b"newer"]
        finally:
            task.cancel()

    asyncio.run(body())
