"""`/metrics`: counters of requests under upstream's names, in the Prometheus text format.

Counting a request costs one dictionary lookup and a few additions. Invariant: labels come from the resource table and
from fixed sets, never from a client's own words, so the number of series has a bound.

Source: apiserver `endpoints/metrics/metrics.go` for names, labels and buckets.
"""

from __future__ import annotations

import os
import resource as process_limits
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING

from carob.apiserver.well_known import API_VERSION
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.apiserver.types import RequestInfo

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
_BUCKETS_SECONDS = (
    0.005,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    1.25,
    1.5,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    15,
    20,
    30,
    45,
    60,
)
_VERBS = {"deletecollection": "DELETECOLLECTION", "create": "POST", "update": "PUT", "patch": "PATCH"}
_METHODS = frozenset(("get", "head", "post", "put", "patch", "delete", "options"))
Key = tuple[str, str, str, str, str, str]


class _Series:
    __slots__ = ("buckets", "by_code", "seconds")

    def __init__(self) -> None:
        self.by_code: dict[int, int] = {}
        self.buckets = [0] * (len(_BUCKETS_SECONDS) + 1)
        self.seconds = 0.0


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._series: dict[Key, _Series] = {}
        self._shown: list[tuple[str, str, str, Callable[[], list[tuple[str, float]]]]] = []

    def observe(self, info: RequestInfo, code: int, seconds: float) -> None:
        """Count one answered request."""
        row = info.resource
        if row is not None and row.kind:
            scope = "resource" if info.name else "namespace" if info.namespace else "cluster"
            key = (info.verb, row.group, row.version, row.plural, info.subresource, scope)
        else:
            key = (info.verb if info.verb in _METHODS else "other", "", "", "", "", "")
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        series.by_code[code] = series.by_code.get(code, 0) + 1
        if info.verb != "watch":
            series.buckets[bisect_left(_BUCKETS_SECONDS, seconds)] += 1
            series.seconds += seconds

    def asked(self) -> set[tuple[str, str, str, str]]:
        """Group, version, plural and subresource of every resource that somebody asked for."""
        return {key[1:5] for key in self._series if key[3]}

    def gauges(self, name: str, text: str, values: Callable[[], list[tuple[str, float]]]) -> None:
        """Show values, each with its labels, that are asked for whenever somebody scrapes."""
        self._shown.append((name, "gauge", text, values))

    def counters(self, name: str, text: str, values: Callable[[], list[tuple[str, float]]]) -> None:
        """As `gauges`, of what only grows."""
        self._shown.append((name, "counter", text, values))

    def answer(self) -> Response:
        """The page."""
        return Response(body=("\n".join(self._lines()) + "\n").encode(), content_type=_CONTENT_TYPE)

    def _lines(self) -> Iterable[str]:
        total = "apiserver_request_total"
        yield f"# HELP {total} [STABLE] Counter of apiserver requests broken out for each verb, group, resource and code."
        yield f"# TYPE {total} counter"
        for key, series in self._series.items():
            labels = _labels(key)
            for code, count in series.by_code.items():
                yield f'{total}{{code="{code}",{labels}}} {count}'
        yield from self._durations()
        for name, kind, text, values in self._shown:
            yield f"# HELP {name} {text}"
            yield f"# TYPE {name} {kind}"
            for labels, value in values():
                yield f"{name}{{{labels}}} {value:g}" if labels else f"{name} {value:g}"
        yield from _process()
        usage = process_limits.getrusage(process_limits.RUSAGE_SELF)
        yield "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds."
        yield "# TYPE process_cpu_seconds_total counter"
        yield f"process_cpu_seconds_total {usage.ru_utime + usage.ru_stime:.2f}"

    def _durations(self) -> Iterable[str]:
        name = "apiserver_request_duration_seconds"
        yield f"# HELP {name} [STABLE] Response latency distribution in seconds for each verb, group and resource."
        yield f"# TYPE {name} histogram"
        for key, series in self._series.items():
            if key[0] == "watch":
                continue
            labels, count = _labels(key), 0
            for bound, there in zip(_BUCKETS_SECONDS, series.buckets, strict=False):
                count += there
                yield f'{name}_bucket{{{labels},le="{bound:g}"}} {count}'
            count += series.buckets[-1]
            yield f'{name}_bucket{{{labels},le="+Inf"}} {count}'
            yield f"{name}_sum{{{labels}}} {series.seconds:.6f}"
            yield f"{name}_count{{{labels}}} {count}"


def _process() -> Iterable[str]:
    """What every process shows under these names."""
    pages = Path("/proc/self/statm").read_text().split()
    size = process_limits.getpagesize()
    figures = (
        ("process_resident_memory_bytes", "Resident memory size in bytes.", int(pages[1]) * size),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", int(pages[0]) * size),
        ("process_open_fds", "Number of open file descriptors.", len(os.listdir("/proc/self/fd"))),
    )
    for name, text, value in figures:
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} gauge"
        yield f"{name} {value}"
    major, minor = API_VERSION.removeprefix("v").split(".")[:2]
    yield "# HELP kubernetes_build_info [ALPHA] What is built here, always 1."
    yield "# TYPE kubernetes_build_info gauge"
    yield f'kubernetes_build_info{{git_version="{API_VERSION}",major="{major}",minor="{minor}",platform="linux"}} 1'


def _labels(key: Key) -> str:
    verb, group, version, plural, subresource, scope = key
    shown = _VERBS.get(verb, verb.upper())
    return (
        f'component="apiserver",dry_run="",group="{group}",resource="{plural}",scope="{scope}",'
        f'subresource="{subresource}",verb="{shown}",version="{version}"'
    )
