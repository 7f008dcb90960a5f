"""Overlay options, over a fake host."""

from __future__ import annotations

import errno

from carob.host.recording import FakeHost
from carob.runtime.embedded import overlay


def options(host: FakeHost) -> str:
    return next(str(arguments[4]) for verb, arguments in host.calls if verb == "mount")


def test_layers_lie_topmost_first() -> None:
    host = FakeHost({})
    assert overlay.mount(host, "/b", "/w", ["/l/top", "/l/base"]) == "/b/rootfs"
    assert options(host) == "lowerdir=/l/top:/l/base,upperdir=/w/upper,workdir=/w/work,volatile"
    assert host.mounted == {"/b/rootfs": "overlay"}


def test_many_layers_are_named_by_short_links() -> None:
    """mount(2) takes one page of options."""
    host = FakeHost({})
    layers = [f"/var/lib/carob/default/node/images/layers/{n:064d}" for n in range(120)]
    overlay.mount(host, "/b", "/w", layers)
    assert len(options(host)) < 1000
    assert host.files["/b/layers/7"] == layers[7]
    assert [arguments[0] for verb, arguments in host.calls if verb == "chdir"] == ["/b/layers", "/"]


def test_signs_that_overlay_would_read_are_kept_away_from_it() -> None:
    host = FakeHost({})
    overlay.mount(host, "/b", "/w", ["/with:colon", "/with,comma"])
    assert options(host).startswith("lowerdir=0:1,")


class OldKernel(FakeHost):
    """Knows no volatile overlays."""

    def mount(self, source: str, target: str, fstype: str = "none", flags: int = 0, data: str = "") -> None:
        if data.endswith(",volatile"):
            raise OSError(errno.EINVAL, "Invalid argument", target)
        super().mount(source, target, fstype, flags, data)


def test_a_kernel_without_volatile_is_served_too() -> None:
    host = OldKernel({})
    overlay.mount(host, "/b", "/w", ["/l"])
    assert options(host) == "lowerdir=/l,upperdir=/w/upper,workdir=/w/work"
