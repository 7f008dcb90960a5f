"""`GET /containerLogs/{namespace}/{pod}/{container}`."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from carob.base.clock import parse_rfc3339
from carob.kubelet.log_choice import NoLog, log_container_id
from carob.kubelet.log_stream import LogStream
from carob.kubelet.logs import LogOptions
from carob.kubelet.pod_record import container_names
from carob.runtime.types import ContainerState
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.status_manager import StatusManager
    from carob.kubelet.tools import Tools
    from carob.transport.http import Sink


class BadQuery(ValueError):
    """A query parameter makes no sense."""


class LogRequests:
    """Answers with the log as plain text; followed logs end with their container."""

    def __init__(self, tools: Tools, records: Mapping[str, PodRecord], statuses: StatusManager) -> None:
        self._tools = tools
        self._records = records
        self._statuses = statuses
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: dict[str, set[LogStream]] = {}

    def container_ended(self, container_id: str) -> None:
        """Wake the followers of its log."""
        for stream in self._following.get(container_id, ()):
            stream.wake()

    def close(self) -> None:
        """End all streams."""
        for task in self._tasks:
            task.cancel()

    def handle(self, namespace: str, pod: str, container: str, query: Mapping[str, list[str]]) -> Response:
        """The answer's head at once; the text follows."""
        record = find_record(self._records, namespace, pod)
        if record is None:
            return _error(404, f'pod "{pod}" does not exist')
        if container not in container_names(record.pod):
            return _error(404, f'container "{container}" not found in pod "{pod}"')
        try:
            options = log_options(query, self._tools.clock.now())
            previous = _flag(query, "previous")
            chosen = log_container_id(pod, self._statuses.known(record.pod), container, previous=previous)
        except (NoLog, BadQuery) as error:
            return _error(400, str(error))
        container_id = chosen.rpartition("://")[2]
        status = record.containers.get(container_id)
        if status is None or not os.path.exists(status.log_path):
            return _error(500, f'failed to find log of container "{container}" in pod "{pod}": the file is gone')
        path = status.log_path

        def start(sink: Sink) -> None:
            self._start(record, container_id, path, options, sink)

        return Response(200, content_type="text/plain", stream=start)

    def _start(self, record: PodRecord, container_id: str, path: str, options: LogOptions, sink: Sink) -> None:
        def running() -> bool:
            status = record.containers.get(container_id)
            return status is not None and status.state is ContainerState.RUNNING

        stream = LogStream(path, options, sink, running)
        self._following.setdefault(container_id, set()).add(stream)
        task = asyncio.get_running_loop().create_task(stream.run(), name=f"logs {container_id[:12]}")
        self._tasks.add(task)

        def done(ended: asyncio.Task[None]) -> None:
            self._tasks.discard(ended)
            streams = self._following.get(container_id)
            if streams is not None:
                streams.discard(stream)
                if not streams:
                    del self._following[container_id]

        task.add_done_callback(done)


def find_record(records: Mapping[str, PodRecord], namespace: str, name: str, uid: str = "") -> PodRecord | None:
    """The Pod of this name; of two (one that ends, one that begins) the one that the API has."""
    found = None
    for record in records.values():
        metadata = record.pod.metadata
        if metadata.name == name and metadata.namespace == namespace and (not uid or metadata.uid == uid):
            if not record.removed:
                return record
            found = record
    return found


def log_options(query: Mapping[str, list[str]], now: float) -> LogOptions:
    """The options of a request. Raises: BadQuery."""
    since = None
    seconds = _number(query, "sinceSeconds")
    if seconds is not None:
        since = now - seconds
    time = query.get("sinceTime", [""])[0]
    if time:
        try:
            since = parse_rfc3339(time)
        except ValueError as error:
            raise BadQuery(f"unable to decode the request for container logs: {error}") from error
    stream = query.get("stream", [""])[0].lower()
    return LogOptions(
        follow=_flag(query, "follow"),
        timestamps=_flag(query, "timestamps"),
        tail_lines=_number(query, "tailLines"),
        limit_bytes=_number(query, "limitBytes"),
        since=since,
        stream="" if stream == "all" else stream,
    )


def _flag(query: Mapping[str, list[str]], name: str) -> bool:
    # the presence counts, as Go's conversion of query parameters to booleans has it
    return query.get(name, ["false"])[0].lower() not in ("false", "0")


def _number(query: Mapping[str, list[str]], name: str) -> int | None:
    text = query.get(name, [""])[0]
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise BadQuery(f"unable to decode the request for container logs: {name}: {text!r} is no number") from error


def _error(status: int, text: str) -> Response:
    return Response(status, text.encode(), content_type="text/plain; charset=utf-8")
