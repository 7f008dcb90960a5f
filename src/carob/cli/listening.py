"""Where a server is heard beside its own machine, and by which names: flags of `carob up` and `carob server`.

Source: the flags' names are kube-apiserver's (`--bind-address`, `--advertise-address`) and k3s's (`--tls-san`).
"""

from __future__ import annotations

import ipaddress
import re
import socket

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

EVERY_ADDRESS = "0.0.0.0"
# nobody has it (RFC 5737), and nothing is sent: the kernel only says from which address it would be
_ELSEWHERE = ("192.0.2.1", 9)
_NAME = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_FLAGS = ("bind-address", "advertise-address", "tls-san")


def add_flags(flags: Flags) -> None:
    """`--bind-address`, `--advertise-address`, `--tls-san`."""
    flags.csv("bind-address", meta="A,...", help="listen for other machines too, here; 0.0.0.0: on every address")
    flags.text("advertise-address", meta="A", help="where other machines reach this server (default: where it listens)")
    flags.csv("tls-san", meta="NAME,...", help="further names and addresses of the server, for its certificate")


def given(arguments: Arguments) -> bool:
    """Whether any of the flags was given."""
    return not arguments.changed.isdisjoint(_FLAGS)


def apply(cluster: Cluster, arguments: Arguments) -> bool:
    """Write into the cluster's description what the flags say; whether that changed it. Raises: CommandError."""
    if not given(arguments):
        return False
    before = (cluster.bind_addresses, cluster.advertise_address, cluster.server_names)
    if "tls-san" in arguments.changed:
        cluster.server_names = [_san(text) for text in arguments.tls_san if text]
    if "bind-address" in arguments.changed or "advertise-address" in arguments.changed:
        bound = [_address("--bind-address", text) for text in arguments.bind_address if text]
        advertised = arguments.advertise_address and _address("--advertise-address", arguments.advertise_address)
        if advertised == EVERY_ADDRESS:
            raise CommandError("error: --advertise-address: 0.0.0.0 is nowhere; name one address")
        cluster.bind_addresses = bound or [text for text in (advertised,) if text]
        cluster.advertise_address = advertised or (_one_of(bound) if bound else "")
    return before != (cluster.bind_addresses, cluster.advertise_address, cluster.server_names)


def _address(flag: str, text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise CommandError(f'error: {flag}: "{text}" is not an IPv4 address') from None


def _san(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if _NAME.fullmatch(text):
            return text
        raise CommandError(f'error: --tls-san: "{text}" is neither an address nor a DNS name') from None


def _one_of(bound: list[str]) -> str:
    if bound[0] != EVERY_ADDRESS:
        return bound[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError as error:
            raise CommandError(
                f"error: this machine has no way out ({error.strerror}), so its address is not known; "
                "say it with --advertise-address"
            ) from error
        address: str = probe.getsockname()[0]
    return address
