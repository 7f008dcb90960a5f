"""A few lines of API server: objects of one kind in memory, with versions, watches, expiry and faults on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from carob.api.status import ApiError, gone
from carob.transport.http import Request, Response, Sink

Tree = dict[str, Any]


class FakeApi:
    """A Handler. `put` and `remove` change objects; every watcher hears of it."""

    def __init__(self) -> None:
        self.revision = 10
        self.objects: dict[str, Tree] = {}
        self.events: list[tuple[int, str, Tree]] = []
        self.oldest = 0
        self.sinks: list[Sink] = []
        self.requests: list[Request] = []
        self.fail: list[Exception | ApiError] = []
        """What the next requests raise instead of being answered."""
        self.page = 1000
        self.before: Callable[[Request], None] = lambda request: None
        """Called with every request before it is answered."""
        self.snapshots: dict[int, list[Tree]] = {}
        self.written: dict[str, Tree] = {}
        """What was created, by path."""
        self.answers: list[Tree] = []
        """What the next writes are answered with; else with what they made."""

    def put(self, name: str, **labels: str) -> None:
        """Create or change an object."""
        self.revision += 1
        known = self.objects.get(name)
        tree: Tree = {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": known["metadata"]["uid"] if known else f"uid-{self.revision}",
                "resourceVersion": str(self.revision),
                "labels": labels,
                "managedFields": [{"manager": "x"}],
            }
        }
        self.objects[name] = tree
        self._tell("MODIFIED" if known else "ADDED", tree)

    def remove(self, name: str) -> None:
        """Delete an object."""
        self.revision += 1
        tree = self.objects.pop(name)
        tree["metadata"]["resourceVersion"] = str(self.revision)
        self._tell("DELETED", tree)

    def bookmark(self) -> None:
        """Tell every watcher the present version."""
        self.revision += 1
        self._send("BOOKMARK", {"metadata": {"resourceVersion": str(self.revision)}})

    def error(self, error: ApiError) -> None:
        """End every watch with an error."""
        self._send("ERROR", error.status())
        self.hang_up()

    def hang_up(self, *, cut: bool = False) -> None:
        """End every watch, properly or not."""
        sinks, self.sinks = self.sinks, []
        for sink in sinks:
            sink.abort() if cut else sink.close()

    def compact(self) -> None:
        """Forget history: watches from the past are 410."""
        self.oldest = self.revision

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        self.before(request)
        if self.fail:
            failure = self.fail.pop(0)
            if isinstance(failure, ApiError):
                return Response(failure.code, failure.body())
            raise failure
        query = parse_qs(request.query)
        if request.method != "GET":
            return self._write(request)
        if "watch" in query:
            return self._watch(int(query["resourceVersion"][0]))
        return self._list(query)

    def _list(self, query: dict[str, list[str]]) -> Response:
        """Pages of at most `page` objects, all of them as of the first page's version."""
        start = 0
        revision = self.revision
        objects = list(self.objects.values())
        if "continue" in query:
            start, revision = map(int, query["continue"][0].split("."))
            if revision < self.oldest:
                error = gone("the continue parameter is too old")
                return Response(error.code, error.body())
            objects = self.snapshots[revision]
        self.snapshots[revision] = objects
        metadata = {"resourceVersion": str(revision)}
        if len(objects) > start + self.page:
            metadata["continue"] = f"{start + self.page}.{revision}"
        return Response(body=orjson.dumps({"metadata": metadata, "items": objects[start : start + self.page]}))

    def _write(self, request: Request) -> Response:
        if self.answers:
            return Response(200, orjson.dumps(self.answers.pop(0)))
        body = orjson.loads(request.body)
        if request.method == "PATCH":
            body = {**self.written[request.path], **body}
        self.written[f"{request.path}/{body['metadata']['name']}"] = body
        return Response(201, orjson.dumps(body))

    def _watch(self, after: int) -> Response:
        if after < self.oldest:
            error = gone(f"too old resource version: {after} ({self.oldest})")
            frame = orjson.dumps({"type": "ERROR", "object": error.status()}) + b"\n"
            return Response(body=frame)

        def begin(sink: Sink) -> None:
            for revision, kind, tree in self.events:
                if revision > after:
                    sink.write(orjson.dumps({"type": kind, "object": tree}) + b"\n")
            self.sinks.append(sink)

        return Response(stream=begin)

    def _tell(self, kind: str, tree: Tree) -> None:
        copy = orjson.loads(orjson.dumps(tree))
        self.events.append((self.revision, kind, copy))
        self._send(kind, copy)

    def _send(self, kind: str, tree: Tree) -> None:
        for sink in self.sinks:
            sink.write(orjson.dumps({"type": kind, "object": tree}) + b"\n")
