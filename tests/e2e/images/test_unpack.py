"""Layers through the real GNU tar: what is kept, what is turned into overlayfs' form, what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from carob.host.real import RealHost
from carob.runtime.images import unpack
from carob.runtime.images.store import LayerRecord
from carob.runtime.types import RuntimeFailure

pytestmark = pytest.mark.root

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(data)
    return info, data


def folder(name: str, mode: int = 0o755) -> Entry:
    return entry(name, kind=tarfile.DIRTYPE, mode=mode)


def archive(entries: Iterable[Entry]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Unpacked:
    """The outcome of one unpacking in a folder of its own."""

    def __init__(self, place: Path, blob: bytes, plain: bytes) -> None:
        place.mkdir(parents=True)
        (place / "blob").write_bytes(blob)
        self.root = place / "home" / "fs"
        diff_id = f"sha256:{hashlib.sha256(plain).hexdigest()}"
        self.record: LayerRecord = unpack.unpack(
            RealHost(), str(place / "blob"), str(place / "home"), diff_id, {"PATH": os.environ["PATH"]}, lambda: False
        )


Run = Callable[..., Unpacked]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*entries: Entry) -> Unpacked:
        plain = archive(entries)
        return Unpacked(tmp_path / "one", plain, plain)

    return run


def is_whiteout(path: Path) -> bool:
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def test_files_keep_what_makes_them_what_they_are(run: Run) -> None:
    owned, data = entry("bin/su", b"#!", mode=0o4755)
    owned.uid, owned.gid, owned.mtime = 1234, 5678, 1_000_000_000
    special, special_data = entry("bin/ping", b"ping")
    special.pax_headers = {"SCHILY.xattr.user.note": "kept", "SCHILY.xattr.trusted.overlay.redirect": "/secret"}
    capable, capable_data = entry("bin/capable", b"c")
    value = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
    capable.pax_headers = {"SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")}
    out = run(
        folder("bin"),
        (owned, data),
        (special, special_data),
        (capable, capable_data),
        folder("tmp", 0o1777),
        entry("bin/alias", kind=tarfile.LNKTYPE, link="bin/su"),
        entry("bin/absolute", kind=tarfile.SYMTYPE, link="/bin/su"),
        entry("bin/pipe", kind=tarfile.FIFOTYPE),
    )
    su = os.lstat(out.root / "bin/su")
    assert (stat.S_IMODE(su.st_mode), su.st_uid, su.st_gid, su.st_mtime) == (0o4755, 1234, 5678, 1_000_000_000)
    assert os.lstat(out.root / "bin/alias").st_ino == su.st_ino
    assert stat.S_IMODE(os.lstat(out.root / "tmp").st_mode) == 0o1777
    assert os.readlink(out.root / "bin/absolute") == "/bin/su"
    assert stat.S_ISFIFO(os.lstat(out.root / "bin/pipe").st_mode)
    assert os.listxattr(out.root / "bin/ping") == ["user.note"]
    assert os.getxattr(out.root / "bin/capable", "security.capability") == value
    assert out.record.inodes == 7


def test_whiteouts_take_the_form_of_overlayfs(run: Run) -> None:
    out = run(
        folder("etc"),
        entry("etc/.wh.passwd"),
        entry("etc/kept", b"1"),
        folder("opt"),
        entry("opt/.wh..wh..opq"),
        entry("opt/new", b"1"),
        folder("var"),
        entry("var/.wh.log"),
        folder("var/log"),
        entry("var/log/new", b"1"),
        entry("var/.wh.file"),
        entry("var/file", b"new"),
        entry(".wh..wh.aufs"),
        entry("missing/parent/.wh.gone"),
    )
    assert is_whiteout(out.root / "etc/passwd")
    assert (out.root / "etc/kept").read_bytes() == b"1"
    assert os.getxattr(out.root / "opt", "trusted.overlay.opaque") == b"y"
    assert os.getxattr(out.root / "var/log", "trusted.overlay.opaque") == b"y"
    assert (out.root / "var/file").read_bytes() == b"new"
    assert is_whiteout(out.root / "missing/parent/gone")
    left = [name for _, folders, files in os.walk(out.root) for name in (*folders, *files) if name.startswith(".wh.")]
    assert left == []


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("../escape", b"x")], "Member name contains '..'"),
        ([folder("a"), entry("a/../../escape", b"x")], "Member name contains '..'"),
        ([entry("out", kind=tarfile.SYMTYPE, link="TARGET"), entry("out/escape", b"x")], "out/escape"),
        ([entry("out", kind=tarfile.SYMTYPE, link="../.."), entry("out/escape", b"x")], "out/escape"),
        ([entry("hard", kind=tarfile.LNKTYPE, link="../../blob")], "hard"),
        ([entry("hard", kind=tarfile.LNKTYPE, link="TARGET/victim")], "hard"),
        ([folder("dev"), entry("dev/sda", kind=tarfile.BLKTYPE)], "device node, which is refused: /dev/sda"),
        ([folder("dev"), entry("dev/null", kind=tarfile.CHRTYPE)], "device node, which is refused: /dev/null"),
    ],
)
def test_what_would_leave_the_folder_is_refused(run: Run, tmp_path: Path, entries: list[Entry], message: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "victim").write_text("mine")
    for info, _ in entries:
        info.linkname = info.linkname.replace("TARGET", str(target))
    with pytest.raises(RuntimeFailure, match=message):
        run(*entries)
    assert [path.name for path in target.iterdir()] == ["victim"]
    assert (target / "victim").stat().st_nlink == 1
    assert {path.name for path in tmp_path.iterdir()} == {"one", "target"}
    assert not (tmp_path / "one" / "escape").exists()


def test_absolute_names_are_taken_as_inside(run: Run) -> None:
    out = run(entry("/etc/motd", b"hello"))
    assert (out.root / "etc/motd").read_bytes() == b"hello"


@pytest.mark.parametrize("packing", ["plain", "gzip", "gzip members", "padded gzip", "zstd"])
def test_packings(tmp_path: Path, packing: str) -> None:
    plain = archive([folder("data"), entry("data/large", os.urandom(300_000) + bytes(3_000_000))])
    half = len(plain) // 2
    if packing == "zstd":
        (tmp_path / "plain").write_bytes(plain)
        host = RealHost()
        pid = host.spawn(["/usr/bin/zstd", "-q", str(tmp_path / "plain"), "-o", str(tmp_path / "zst")], {})
        assert os.waitpid(pid, 0)[1] == 0
    blob = {
        "plain": lambda: plain,
        "gzip": lambda: gzip.compress(plain),
        "gzip members": lambda: gzip.compress(plain[:half]) + gzip.compress(plain[half:]),
        "padded gzip": lambda: gzip.compress(plain) + bytes(1000),
        "zstd": lambda: (tmp_path / "zst").read_bytes(),
    }[packing]()
    out = Unpacked(tmp_path / "one", blob, plain)
    assert (out.root / "data/large").stat().st_size == 3_300_000


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda blob: blob[: len(blob) // 2], "ends too early"),
        (lambda blob: blob[:1000] + b"\xff" * 50 + blob[1050:], "damaged|cannot be unpacked|unpacks to"),
        (lambda _: b"no tar at all, and long enough to be looked at" * 100, "does not look like a tar archive"),
        (lambda _: gzip.compress(b"no tar at all, and long enough to be looked at" * 100), "not look like a tar"),
        (lambda blob: gzip.compress(gzip.decompress(blob)[:200_000]), "Unexpected EOF|unpacks to"),
    ],
)
def test_damaged_layers(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    plain = archive([entry("data", os.urandom(400_000))])
    with pytest.raises(RuntimeFailure, match=message):
        Unpacked(tmp_path / "one", damage(gzip.compress(plain)), plain)


def test_a_layer_that_is_not_what_the_image_says(tmp_path: Path) -> None:
    plain = archive([entry("bin/sh", b"evil")])
    with pytest.raises(RuntimeFailure, match="but the image says"):
        Unpacked(tmp_path / "one", plain, b"something else")
