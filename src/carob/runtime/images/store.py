"""Images on disk: blobs and unpacked layers that images share, and small records that say what exists.

    blobs/sha256/<hex>        manifests, configs and packed layers, by the digest of their bytes
    layers/<hex>/fs           a layer unpacked, by the digest of its unpacked tar (diff id); beside it `layer.json`
    images/<hex>.json         an image, by the digest of its config
    names/<hex>.json          one full name (with a tag, or with a digest) and the image that it means
    staging/                  what is being made; worth nothing after a restart

Invariants, also after kill -9 at any moment: everything outside of `staging` arrived by rename and is whole; an image's
record is written after its layers and removed before them; what no record names is swept away at the next start.
Nobody waits for the disk: an image whose files had not reached it when the machine lost its power is forgotten, with
its layers, by the start after that.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from carob.base.log import get_logger, pairs
from carob.host import syscalls
from carob.runtime.images import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.host.types import Host

_log = get_logger("runtime.images")

_CLEARING_TRIES, _CLEARING_SECONDS = 100, 0.02


class Layer(Struct, frozen=True):
    """A layer of an image: its packed bytes, and what they unpack to."""

    blob: str
    diff_id: str


class ImageRecord(Struct, kw_only=True):
    """One image. `layers` are bottom first; `blobs` is every digest that it keeps alive."""

    id: str
    layers: list[Layer]
    blobs: list[str]
    size_bytes: int
    config: dict[str, Any] = field(default_factory=dict)
    """The `config` object of the OCI image config."""
    unsynced_boot_id: str = ""
    """The boot of the machine in which it was made, until its files are known to have reached the disk."""


class NameRecord(Struct, frozen=True):
    """`name` is full and has a tag or a digest."""

    name: str
    image_id: str


class LayerRecord(Struct, frozen=True):
    """What an unpacked layer takes on the disk."""

    bytes: int
    inodes: int


class ImageStore:
    """The records in memory and on disk. Verbs block for as long as their files take; `sweep` may take long.

    Used from one thread at a time, except for `staging`, `blob` and `layer`, which only know paths.
    """

    def __init__(self, host: Host, folder: str) -> None:
        self._host = host
        self.folder = folder
        self._images: dict[str, ImageRecord] = {}
        self._names: dict[str, str] = {}
        self._layers: dict[str, LayerRecord] = {}
        self._staged = 0
        self._boot_id = ""

    # -- places -----------------------------------------------------------------------------------------------------

    @property
    def blobs(self) -> str:
        """The folder that holds `sha256/`."""
        return f"{self.folder}/blobs"

    def blob(self, digest: str) -> str:
        """The file of a blob, whether it is there or not."""
        return f"{self.blobs}/{digest.replace(':', '/')}"

    def layer(self, diff_id: str) -> str:
        """The folder of an unpacked layer, as overlayfs wants it."""
        return f"{self._layer_home(diff_id)}/fs"

    def _layer_home(self, diff_id: str) -> str:
        return f"{self.folder}/layers/{diff_id.partition(':')[2]}"

    @contextmanager
    def staging(self) -> Iterator[str]:
        """A folder to make something in; gone afterwards with all that was not moved out of it."""
        self._staged += 1
        place = f"{self.folder}/staging/{os.getpid()}-{self._staged}"
        self._host.mkdir(place, 0o700)
        try:
            yield place
        finally:
            self._host.rmtree(place)

    def _clear_away(self, place: str) -> None:
        """Remove what an earlier run left, also while a child of that run still puts files there.

        Nobody can say when an orphan ends, but its next file into a folder that has gone ends it.
        """
        for left in reversed(range(_CLEARING_TRIES)):
            try:
                self._host.rmtree(place)
            except OSError as error:
                if left == 0:
                    _log.warning("cannot clear away: %s", pairs(place=place, error=error))
                time.sleep(_CLEARING_SECONDS)
            else:
                return

    # -- start ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Read the records, and clear away what an earlier run left half done."""
        self._boot_id = self._host.read("/proc/sys/kernel/random/boot_id").strip()
        for kind in ("blobs/sha256", "layers", "images", "names", "staging"):
            self._host.mkdir(f"{self.folder}/{kind}", 0o700)
        for name in self._host.listdir(f"{self.folder}/staging"):
            self._clear_away(f"{self.folder}/staging/{name}")
        for hexadecimal in self._host.listdir(f"{self.folder}/layers"):
            record = self._read(f"{self.folder}/layers/{hexadecimal}/layer.json", LayerRecord)
            if record is None:
                self._discard_layer(f"sha256:{hexadecimal}")
            else:
                self._layers[f"sha256:{hexadecimal}"] = record
        lost: set[str] = set()
        for image in self._read_all("images", ImageRecord):
            if image.unsynced_boot_id not in ("", self._boot_id):
                _log.warning("image may have been lost with the machine's power: %s", pairs(image=image.id))
                lost.update(layer.diff_id for layer in image.layers)
            else:
                self._images[image.id] = image
        synced = {layer.diff_id for image in self._images.values() for layer in image.layers}
        self._drop_layers(lost - synced)
        for image in list(self._images.values()):
            if any(layer.diff_id not in self._layers for layer in image.layers):
                del self._images[image.id]
        for name in self._read_all("names", NameRecord):
            if name.image_id in self._images:
                self._names[name.name] = name.image_id
        self.sweep()

    def _read_all(self, kind: str, struct: type[Any]) -> Iterator[Any]:
        for name in sorted(self._host.listdir(f"{self.folder}/{kind}")):
            record = self._read(f"{self.folder}/{kind}/{name}", struct)
            if record is not None:
                yield record

    def _read(self, path: str, struct: type[Any]) -> Any:
        try:
            return msgspec.json.decode(self._host.read(path), type=struct)
        except (msgspec.MsgspecError, OSError) as error:
            _log.warning("record cannot be read: %s", pairs(path=path, error=error))
            return None

    # -- looking ----------------------------------------------------------------------------------------------------

    def find(self, text: str) -> ImageRecord | None:
        """By id, or by any form of a name. Raises: InvalidImageName."""
        wanted = names.image_id(text)
        if not wanted:
            wanted = self._names.get(names.parse(text).key, "")
        return self._images.get(wanted)

    def images(self) -> list[ImageRecord]:
        """All of them, in no order that means anything."""
        return list(self._images.values())

    def names_of(self, image_id: str) -> tuple[list[str], list[str]]:
        """The image's names by tag and by digest, each sorted."""
        mine = sorted(name for name, image in self._names.items() if image == image_id)
        return [name for name in mine if "@" not in name], [name for name in mine if "@" in name]

    def has_layer(self, diff_id: str) -> bool:
        """Is it there, unpacked and whole?"""
        return diff_id in self._layers

    def usage(self) -> tuple[int, int]:
        """Bytes and inodes of all unpacked layers and all blobs."""
        folder = f"{self.blobs}/sha256"
        sizes = [os.stat(f"{folder}/{name}").st_size for name in self._host.listdir(folder)]
        layers = self._layers.values()
        return (
            sum(sizes) + sum(layer.bytes for layer in layers),
            len(sizes) + sum(layer.inodes for layer in layers),
        )

    # -- changing ---------------------------------------------------------------------------------------------------

    def add_layer(self, diff_id: str, home: str, record: LayerRecord) -> None:
        """Take a staged folder (which holds `fs`) as the layer; keeps the one that is there already."""
        if diff_id in self._layers:
            return
        self._host.write_atomic(f"{home}/layer.json", msgspec.json.encode(record))
        os.rename(home, self._layer_home(diff_id))
        self._layers[diff_id] = record

    def add(self, image: ImageRecord, full_names: list[str]) -> None:
        """Make an image known whose layers are there. A name that meant another image now means this one."""
        image.unsynced_boot_id = self._boot_id
        self._write(image)
        self.name(image.id, full_names)

    def _write(self, image: ImageRecord) -> None:
        self._host.write_atomic(self._image_path(image.id), msgspec.json.encode(image))
        self._images[image.id] = image

    def sync(self) -> None:
        """Bring everything to the disk; may take as long as the disk likes."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syscalls.syncfs(descriptor)
        finally:
            os.close(descriptor)

    def unsynced(self) -> list[str]:
        """Images that a power cut would take."""
        return [image.id for image in self._images.values() if image.unsynced_boot_id]

    def synced(self, image_id: str) -> None:
        """A `sync` that began after `add` has ended."""
        image = self._images.get(image_id)
        if image is not None:
            image.unsynced_boot_id = ""
            self._write(image)

    def name(self, image_id: str, full_names: list[str]) -> None:
        """Give names to an image."""
        for name in full_names:
            if self._names.get(name) != image_id:
                self._host.write_atomic(self._name_path(name), msgspec.json.encode(NameRecord(name, image_id)))
                self._names[name] = image_id

    def remove(self, image_id: str) -> None:
        """Forget an image and its names; its layers go with the next `sweep`. Idempotent."""
        if self._images.pop(image_id, None) is None:
            return
        self._host.unlink(self._image_path(image_id))
        for name in [name for name, image in self._names.items() if image == image_id]:
            self._host.unlink(self._name_path(name))
            del self._names[name]

    def sweep(self) -> None:
        """Remove blobs and layers that no image needs. Never while an image is being made."""
        blobs = {blob.partition(":")[2] for image in self._images.values() for blob in image.blobs}
        for name in self._host.listdir(f"{self.blobs}/sha256"):
            if name not in blobs:
                self._host.unlink(f"{self.blobs}/sha256/{name}")
        layers = {layer.diff_id for image in self._images.values() for layer in image.layers}
        self._drop_layers(set(self._layers) - layers)
        kept = {os.path.basename(self._image_path(image_id)) for image_id in self._images}
        self._keep_only("images", kept)
        self._keep_only("names", {os.path.basename(self._name_path(name)) for name in self._names})

    def _drop_layers(self, diff_ids: set[str]) -> None:
        for diff_id in diff_ids & set(self._layers):
            del self._layers[diff_id]
            self._discard_layer(diff_id)

    def _discard_layer(self, diff_id: str) -> None:
        with self.staging() as trash:
            # renamed first: a layer is there as a whole or not at all
            os.rename(self._layer_home(diff_id), f"{trash}/layer")

    def _keep_only(self, kind: str, kept: set[str]) -> None:
        for name in self._host.listdir(f"{self.folder}/{kind}"):
            if name not in kept:
                self._host.unlink(f"{self.folder}/{kind}/{name}")

    def _image_path(self, image_id: str) -> str:
        return f"{self.folder}/images/{image_id.partition(':')[2]}.json"

    def _name_path(self, name: str) -> str:
        # a digest of the name: names hold slashes, and may be longer than a file's name
        return f"{self.folder}/names/{hashlib.sha256(name.encode()).hexdigest()}.json"
