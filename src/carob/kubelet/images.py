"""Images for containers: present, pulled, or why not, with upstream's events, reasons and back-off.

Touches the runtime; tells events. One pull of an image at a time, however many containers want it; at most
`max_parallel_pulls` pulls at once.

Source: kubelet `images/image_manager.go`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.kubelet import failures
from carob.kubelet.backoff import Backoff, go_duration
from carob.kubelet.failures import StepFailure
from carob.kubelet.image_names import InvalidImageName, with_default_tag
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.kubelet.credentials import PullSecret
    from carob.kubelet.events import PodEvents
    from carob.kubelet.pull_records import PullRecords
    from carob.runtime.types import Image, Runtime


class _History(Struct):
    """What earlier pulls of one image for one Pod came to."""

    backoff: Backoff = field(default_factory=Backoff)
    failed_at: float = 0.0
    error: str = ""


class Images:
    """`ensure` gives the image that a container runs, or raises why it cannot."""

    def __init__(self, runtime: Runtime, clock: Clock, max_parallel_pulls: int, records: PullRecords) -> None:
        self._runtime = runtime
        self._clock = clock
        self._slots = asyncio.Semaphore(max_parallel_pulls)
        self._records = records
        self._pulls: dict[str, asyncio.Lock] = {}
        self._histories: dict[tuple[str, str], _History] = {}

    async def ensure(
        self, uid: str, container: core_v1.Container, secrets: list[PullSecret], events: PodEvents
    ) -> Image:
        """The image of `container`. Raises: StepFailure."""
        wanted = container.image
        try:
            name = with_default_tag(wanted)
        except InvalidImageName as error:
            message = f'Failed to apply default image tag "{wanted}": {error}'
            events.warning("InspectFailed", message, container.name)
            raise StepFailure(failures.INVALID_IMAGE_NAME, message) from error
        try:
            present = await self._runtime.image_status(name)
        except RuntimeFailure as error:
            message = f'Failed to inspect image "{wanted}": {error}'
            events.warning("InspectFailed", message, container.name)
            raise StepFailure(failures.IMAGE_INSPECT_ERROR, message) from error
        policy = container.image_pull_policy or "IfNotPresent"
        if present is not None and policy != "Always" and self._records.accessible(name, present.id, secrets):
            tell_present(container, events)
            return present
        if policy == "Never":
            message = f'Container image "{wanted}" is not present with pull policy of Never'
            events.warning("ErrImageNeverPull", message, container.name)
            raise StepFailure(failures.ERR_IMAGE_NEVER_PULL, message)
        return await self._pull(uid, container, name, secrets, events)

    async def present(self, container: core_v1.Container) -> Image | None:
        """The image, if it is on the node for everybody and need not be asked for; tells nothing."""
        if container.image_pull_policy == "Always":
            return None
        try:
            name = with_default_tag(container.image)
            present = await self._runtime.image_status(name)
        except (InvalidImageName, RuntimeFailure):
            return None
        return present if present is not None and self._records.accessible(name, present.id, ()) else None

    def keep_records(self, image_ids: Iterable[str]) -> None:
        """These are all images of the node: who pulled others need not be known."""
        self._records.keep(set(image_ids))

    def forget(self, uid: str) -> None:
        """The Pod has gone."""
        for key in [key for key in self._histories if key[0] == uid]:
            del self._histories[key]

    def wait_seconds(self, uid: str, image: str) -> float:
        """How long the next pull has to wait."""
        history = self._histories.get((uid, image))
        return 0.0 if history is None else history.backoff.remaining(history.failed_at, self._clock.monotonic())

    async def _pull(
        self, uid: str, container: core_v1.Container, name: str, secrets: list[PullSecret], events: PodEvents
    ) -> Image:
        key = (uid, container.image)
        history = self._histories.get(key)
        if history is not None and history.backoff.remaining(history.failed_at, self._clock.monotonic()) > 0:
            text = f'Back-off pulling image "{container.image}"'
            events.normal("BackOff", text, container.name)
            raise StepFailure(failures.IMAGE_PULL_BACK_OFF, f"{text}: {history.error}" if history.error else text)
        events.normal("Pulling", f'Pulling image "{container.image}"', container.name)
        asked_at = self._clock.monotonic()
        try:
            image, began_at = await self._pull_once(name, secrets)
        except RuntimeFailure as error:
            events.warning("Failed", f'Failed to pull image "{container.image}": {error}', container.name)
            history = self._histories.setdefault(key, _History())
            now = self._clock.monotonic()
            history.backoff.advance(now, now)
            history.failed_at = now
            reason = error.reason if error.reason in _PULL_REASONS else failures.ERR_IMAGE_PULL
            history.error = f"{reason}: {error}"
            raise StepFailure(reason, str(error)) from error
        self._histories.pop(key, None)
        done_at = self._clock.monotonic()
        events.normal(
            "Pulled",
            f'Successfully pulled image "{container.image}" in {_rounded(done_at - began_at)} '
            f"({_rounded(done_at - asked_at)} including waiting). Image size: {image.size_bytes} bytes.",
            container.name,
        )
        return image

    async def _pull_once(self, name: str, secrets: list[PullSecret]) -> tuple[Image, float]:
        """Try each credential, anonymously last; wait for another pull of the same image."""
        lock = self._pulls.setdefault(name, asyncio.Lock())
        try:
            async with lock, self._slots:
                began_at = self._clock.monotonic()
                return await self._try_all(name, secrets), began_at
        finally:
            if not lock.locked():
                self._pulls.pop(name, None)

    async def _try_all(self, name: str, secrets: list[PullSecret]) -> Image:
        failure: RuntimeFailure | None = None
        try:
            self._records.begin(name)
        except OSError as error:
            raise RuntimeFailure(f"failed to record image pull intent: {error}") from error
        tries: list[PullSecret | None] = [*secrets] or [None]
        for secret in tries:
            try:
                image = await self._runtime.pull_image(name, secret.auth if secret is not None else None)
            except RuntimeFailure as error:
                failure = error
                continue
            with contextlib.suppress(OSError):
                # its intent stays then: who comes next asks the registry
                self._records.pulled(name, image.id, secret)
            return image
        assert failure is not None
        self._records.failed(name)
        raise failure


def tell_present(container: core_v1.Container, events: PodEvents) -> None:
    """The event of an image that need not be pulled."""
    text = f'Container image "{container.image}" already present on machine and can be accessed by the pod'
    events.normal("Pulled", text, container.name)


_PULL_REASONS = (
    failures.ERR_IMAGE_PULL,
    failures.INVALID_IMAGE_NAME,
    "RegistryUnavailable",
    "SignatureValidationFailed",
)


def _rounded(seconds: float) -> str:
    return go_duration(max(0.001, round(seconds, 3)))
