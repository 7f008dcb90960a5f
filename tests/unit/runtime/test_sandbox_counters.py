"""The network counters of a sandbox, as /proc shows them."""

from __future__ import annotations

from carob.host.recording import FakeHost
from carob.runtime.sandbox_counters import interfaces
from carob.runtime.types import InterfaceStats

DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:1500      12    1    2    0     0          0         0     2500      22    3    4    0     0       0          0
"""


def test_interfaces_without_the_loopback() -> None:
    host = FakeHost({"/proc/7/net/dev": DEV})
    assert interfaces(host, 7) == [InterfaceStats("eth0", 1500, 12, 1, 2, 2500, 22, 3, 4)]


def test_a_process_that_has_ended_has_none() -> None:
    assert interfaces(FakeHost({}), 7) == []
