#!/usr/bin/env python3
"""Draws docs/way-of-a-pod.svg, the picture of the README. Run it after changing a step; the result is committed."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

OUT = Path(__file__).parent / "way-of-a-pod.svg"
WIDTH, HEIGHT = 980, 560
INK, MUTED, LINE, SERVER, NODE, POD = "#1f2933", "#52606d", "#9aa5b1", "#e8f1fb", "#eef7ea", "#fff6e5"


class Picture:
    """A growing SVG."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def box(self, x: int, y: int, w: int, h: int, title: str, lines: list[str], fill: str) -> None:
        """A room with its name and what it does."""
        self.parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="{fill}" stroke="{LINE}"/>')
        self.text(x + 12, y + 22, title, weight="600")
        for index, line in enumerate(lines):
            self.text(x + 12, y + 42 + 17 * index, line, size=12, fill=MUTED)

    def text(
        self, x: int, y: int, text: str, *, size: int = 14, fill: str = INK, weight: str = "400", anchor: str = "start"
    ) -> None:
        """One line of text."""
        self.parts.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" font-weight="{weight}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def arrow(self, points: list[tuple[int, int]], number: str, at: tuple[int, int]) -> None:
        """A step: a line with a head, and its number in a circle."""
        path = " ".join(f"{'M' if i == 0 else 'L'}{x} {y}" for i, (x, y) in enumerate(points))
        self.parts.append(f'<path d="{path}" fill="none" stroke="{INK}" stroke-width="1.6" marker-end="url(#head)"/>')
        x, y = at
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="11" fill="{INK}"/>')
        self.text(x, y + 4, number, size=12, fill="white", weight="600", anchor="middle")

    def save(self) -> None:
        """Write the file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">'
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{INK}"/></marker></defs>'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        )
        OUT.write_text(head + "\n".join(self.parts) + "</svg>\n")


def main() -> None:
    """Draw."""
    p = Picture()
    p.text(24, 36, "The way of a Pod", size=20, weight="600")
    p.text(24, 58, "POST to Ready; every step is woken by the one before it, nothing polls", size=13, fill=MUTED)
    p.box(24, 84, 150, 84, "any client", ["kubectl, helm, carob:", "a manifest, POSTed"], "#ffffff")
    p.parts.append(f'<rect x="224" y="76" width="732" height="196" rx="10" fill="{SERVER}" stroke="{LINE}"/>')
    p.text(238, 98, "carob server", weight="600", fill=MUTED)
    p.box(
        244,
        110,
        208,
        140,
        "API server",
        ["who are you, may you?", "decode, default, admit,", "validate", "watch cache: bytes as", "clients get them"],
        "#ffffff",
    )
    p.box(
        508,
        110,
        190,
        140,
        "store",
        ["revisioned log", "SQLite, synced to disk", "before anybody hears", "of it"],
        "#ffffff",
    )
    p.box(748, 110, 190, 60, "scheduler", ["filter, score, bind"], "#ffffff")
    p.box(748, 190, 190, 60, "controllers", ["replace what fails"], "#ffffff")
    p.parts.append(f'<rect x="24" y="312" width="932" height="224" rx="10" fill="{NODE}" stroke="{LINE}"/>')
    p.text(160, 334, "carob node", weight="600", fill=MUTED)
    p.box(
        44,
        348,
        190,
        168,
        "kubelet",
        [
            "one worker a Pod:",
            "volumes, token, image,",
            "sandbox, containers,",
            "probes, status, logs,",
            "exec, attach,",
            "port-forward",
        ],
        "#ffffff",
    )
    p.box(290, 348, 196, 76, "runtime", ["crun, conmon, overlay,", "cgroups v1 and v2"], "#ffffff")
    p.box(290, 440, 196, 76, "network", ["routed veth, an address", "a Pod, nftables"], "#ffffff")
    p.parts.append(
        f'<rect x="552" y="340" width="388" height="184" rx="10" fill="{POD}" stroke="#d9a441" stroke-dasharray="6 4"/>'
    )
    p.text(566, 362, "Pod: one address, one host name, shared volumes", weight="600", size=12)
    p.box(568, 376, 112, 132, "pause", ["holds the", "network, UTS", "and IPC", "namespaces"], "#ffffff")
    p.box(694, 376, 112, 132, "web", ["its own", "cgroup limits,", "its own files"], "#ffffff")
    p.box(820, 376, 106, 132, "sync", ["localhost and", "/dev/shm are", "the same"], "#ffffff")
    p.arrow([(174, 126), (244, 126)], "1", (208, 126))
    p.arrow([(452, 150), (508, 150)], "2", (480, 150))
    p.arrow([(452, 216), (480, 216), (480, 260), (723, 260), (723, 140), (748, 140)], "3", (600, 260))
    p.arrow([(290, 250), (290, 290), (139, 290), (139, 348)], "4", (214, 290))
    p.arrow([(234, 386), (290, 386)], "5", (262, 386))
    p.arrow([(388, 424), (388, 440)], "6", (408, 432))
    p.arrow([(486, 386), (568, 386)], "7", (526, 386))
    p.arrow([(90, 348), (90, 190), (244, 190)], "8", (160, 190))
    p.save()


if __name__ == "__main__":
    main()
