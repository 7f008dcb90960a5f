"""Replays recorded requests against an API server in this process, and says how its answers differ from the recorded ones.

Time is virtual: it stands still except where a case waits, or where a request does not come back without it. What differs
from run to run (uids, times, revisions, drawn addresses and names) is replaced on both sides before they are compared;
values that a case's own requests name are kept.
"""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import Pki
from carob.apiserver.server import ApiServer
from carob.base.clock import VirtualClock
from carob.base.ids import SeededRandomness
from carob.store.memory import MemoryStore
from carob.transport.heads import split_target
from carob.transport.http import Request, Response
from tests.fakes.engine_world import FakeSink

FOLDER = Path(__file__).parent / "data" / "recorded"
RECORDED_AT = 1_795_353_480.0  # ages in Tables are counted from here
ADDRESS = "192.0.2.10"
ADMIN = UserInfo(
    "admin",
    ("system:masters", "system:authenticated"),
    extra={
        "authentication.kubernetes.io/credential-id": (
            "X509SHA256=c1a102a7395ee57259ce7b49ed460058fb0a9d3f06394cc9b68eac4eff645dcf",
        )
    },
)
HEADERS_COMPARED = ("warning", "retry-after", "allow", "accept-patch", "location")
# virtual seconds after which a request that has not come back never will
PATIENCE_SECONDS = 90.0

Tree = dict[str, Any]


def load(topic: str) -> Any:
    """A topic's cases: `setup` and, by name, lists of steps."""
    return orjson.loads(gzip.decompress((FOLDER / f"{topic}.json.gz").read_bytes()))


class Replay:
    """One server and the cases of one topic."""

    def __init__(self, pki: Pki) -> None:
        self.clock = VirtualClock(RECORDED_AT)
        options = ApiServerOptions(
            advertise_address=ADDRESS,
            client_ca_pem=pki.ca.certificate.read_bytes(),
            service_account_key_pem=pki.service_account_key.read_bytes(),
        )
        self.server = ApiServer(MemoryStore(), options, self.clock, SeededRandomness(1))
        self.returned: list[Any] = []
        """Every tree that was answered, those of watches' events too."""

    async def run(self, topic: str) -> dict[str, list[str]]:
        """What each case found different, by its name; nothing for most."""
        data = load(topic)
        await self.server.start()
        try:
            await self._case(data["setup"])
            return {name: await self._case(steps) for name, steps in data["cases"].items()}
        finally:
            await self.server.close()

    async def _case(self, steps: list[Tree]) -> list[str]:
        normal = Normal(steps)
        answers: list[Any] = []
        problems: list[str] = []
        for number, step in enumerate(steps):
            if "sleep" in step:
                await self.clock.advance(step["sleep"])
                answers.append(None)
                continue
            found: Tree = {}
            differences: list[str] = []
            for _ in range(150 if "await" in step else 1):
                found = await self._perform(step, answers)
                differences = [] if step.get("setup") else compared(step, _without_own(found, step), normal)
                if not differences and found["status"] == step.get("await", found["status"]):
                    break
                await self.clock.advance(0.1)
            answers.append(found.get("answer", found.get("events", found.get("words"))))
            problems += [f"step {number} {step['request']}: {one}" for one in differences]
            if differences and step["status"] < 300 <= found["status"]:
                break
        return problems

    async def _perform(self, step: Tree, answers: list[Any]) -> Tree:
        method, _, target = step["request"].partition(" ")
        path, query = split_target(filled(target, answers))
        headers: dict[str, Any] = {"user-agent": "golden/1.0", "accept": "application/json"}
        for name, value in filled(step.get("headers", {}), answers).items():
            headers[name.lower()] = ", ".join(value) if isinstance(value, list) else value
        headers = {name: value for name, value in headers.items() if value is not None}
        body = _body_of(step, answers)
        if body is not None:
            headers.setdefault("content-type", "application/json")
        known = not step.get("anonymous") and "authorization" not in headers
        request = Request(method, path, query, headers, body or b"", ADMIN if known else None, raw_target=target)
        response = await self._answered(request)
        return await self._read(response)

    async def _answered(self, request: Request) -> Response:
        answer = self.server.handle(request)
        if isinstance(answer, Response):
            return answer
        task = asyncio.ensure_future(answer)
        deadline = self.clock.monotonic() + PATIENCE_SECONDS
        for turn in range(20_000):
            if task.done():
                return task.result()
            if turn < 200:
                await asyncio.sleep(0)
                continue
            # it waits for time to pass, or for a thread
            await asyncio.wait((task,), timeout=0.01)
            if not task.done() and self.clock.monotonic() < deadline:
                await self.clock.advance(0.5)
        raise AssertionError(f"{request.method} {request.path} never came back")

    async def _read(self, response: Response) -> Tree:
        found: Tree = {"status": response.status, "media": response.content_type, "said": {}}
        for name, value in response.headers:
            if name.lower() in HEADERS_COMPARED:
                found["said"].setdefault(name, []).append(value)
        if response.stream is not None:
            sink = FakeSink()
            response.stream(sink)
            deadline = self.clock.monotonic() + PATIENCE_SECONDS
            while not sink.closed and self.clock.monotonic() < deadline:
                await self.clock.advance(0.5)
            found["events"] = sink.events
            self.returned += [event["object"] for event in sink.events if "object" in event]
            return found
        raw = response.body or b"".join(response.segments or ())
        try:
            found["answer"] = orjson.loads(raw)
            self.returned.append(found["answer"])
        except orjson.JSONDecodeError:
            if raw:
                found["words"] = raw.decode("utf-8", "replace")
        return found


def _body_of(step: Tree, answers: list[Any]) -> bytes | None:
    if "edit" in step:
        tree = copy.deepcopy(answers[step["edit"]["step"]])
        for change in filled(step["edit"].get("ops", []), answers):
            _edit(tree, change)
        return orjson.dumps(tree)
    if "body" in step:
        return json.dumps(filled(step["body"], answers), ensure_ascii=False).encode()  # errors repeat its spaces
    if "text" in step:
        return str(filled(step["text"], answers)).encode()
    if "repeat" in step:
        repeat = step["repeat"]
        return str(repeat["prefix"] + repeat["char"] * repeat["count"] + repeat["suffix"]).encode()
    return None


def _edit(tree: Any, change: Tree) -> None:
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in change["path"].split("/")[1:]]
    for part in parents:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    key: Any = int(last) if isinstance(tree, list) and last != "-" else last
    if change["op"] == "remove":
        del tree[key]
    elif isinstance(tree, list) and change["op"] == "add":
        tree.insert(len(tree) if last == "-" else key, change["value"])
    else:
        tree[key] = change["value"]


_PLACE = re.compile(r"\$\{(\d+)\.([^}]+)\}")


def filled(value: Any, answers: list[Any]) -> Any:
    """A part of a request with `${step.path}` replaced by what that step was answered."""
    if isinstance(value, str):
        whole = _PLACE.fullmatch(value)
        if whole:
            return _at(answers[int(whole[1])], whole[2])
        return _PLACE.sub(lambda match: str(_at(answers[int(match[1])], match[2])), value)
    if isinstance(value, dict):
        return {key: filled(one, answers) for key, one in value.items()}
    return [filled(one, answers) for one in value] if isinstance(value, list) else value


def _at(tree: Any, path: str) -> Any:
    for part in path.split("."):
        tree = tree[int(part)] if isinstance(tree, list) else tree[part.replace("~1", ".")]
    return tree


# -- what differs from run to run --------------------------------------------------------------------------------------

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_ADDRESS = re.compile(r"\b10\.(?:43|20[0-3])\.\d{1,3}\.\d{1,3}\b")
_DRAWN = "[bcdfghjklmnpqrstvwxz2456789]{5}"
_PARTS = (
    (re.compile(r"-----BEGIN [A-Z ]+-----.*-----END [A-Z ]+-----\n?", re.S), "<pem>"),
    (re.compile(r"(?<=\d):6443\b"), ":<port>"),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "<jwt>"),
)
# a number may be the beginning of a uid: these come after uids
_WORDS = (
    (re.compile(f"kube-api-access-{_DRAWN}"), "kube-api-access-<x>"),
    (re.compile(r"current: \d+"), "current: <rv>"),
    (re.compile(r"(too old resource version: \d+) \(\d+\)"), r"\1 (<rv>)"),
    (re.compile(r"in object meta: \d+"), "in object meta: <rv>"),
    (re.compile(r'(resourceVersion\\*"?: ?\\*")\d+'), r"\1<rv>"),
    (re.compile(r"hash=[0-9A-F]+"), "hash=<hash>"),
    (re.compile(r"in record \(\d+\)"), "in record (<rv>)"),
    (re.compile(r"\b(apiserver-)[a-z0-9]{26}(?![a-z0-9])"), r"\1<id>"),
)
_DURATION = re.compile(r"(<unknown>|<invalid>|(\d+[ywdhms])+|\d+m?s)")
_LIMITS = re.compile(r"forbidden: \[(m(?:ax|in)imum [^\]]*)\]")
_AGES = ("Age", "Last Schedule", "Last Seen", "First Seen")
_BUILD = ("gitCommit", "buildDate", "goVersion", "compiler", "platform", "gitTreeState", "continue", "serverAddress")


class Normal:
    """Replaces what is drawn or measured anew in each run, in the answers of one case."""

    def __init__(self, steps: list[Tree]) -> None:
        asked = [{k: v for k, v in step.items() if k in _REQUEST} for step in steps]
        said = orjson.dumps(asked).decode()
        self._kept = {*_UUID.findall(said), *_TIME.findall(said), *_ADDRESS.findall(said), "10.43.0.1", "10.43.0.0"}
        self._ports = {int(port) for port in re.findall(r"\b3[0-2]\d{3}\b", said)}
        prefixes = sorted(set(re.findall(r'\\?"generateName\\?": ?\\?"([^"\\]+)\\?"', said)))
        self._drawn = [(re.compile(re.escape(one[:58]) + _DRAWN), f"{one}<x>") for one in prefixes]

    def value(self, value: Any, key: str = "") -> Any:
        """A part of an answer that stands under `key`."""
        if isinstance(value, dict):
            out = {name: self.value(one, name) for name, one in value.items()}
            return self._table(out) if value.get("kind") == "Table" else out
        if isinstance(value, list):
            return self._list([self.value(one, key) for one in value], key)
        if isinstance(value, str):
            return self._text(value, key)
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        if key in ("nodePort", "healthCheckNodePort") and 30000 <= value <= 32767 and value not in self._ports:
            return "<nodePort>"
        return "<port>" if value == 6443 else value

    @staticmethod
    def _table(tree: Tree) -> Tree:
        names = [column.get("name") for column in tree.get("columnDefinitions") or []]
        for row in tree.get("rows") or []:
            for number, (name, cell) in enumerate(zip(names, row.get("cells") or [], strict=False)):
                if name in _AGES and isinstance(cell, str) and _DURATION.fullmatch(cell):
                    row["cells"][number] = "<age>"
        return tree

    @staticmethod
    def _list(values: list[Any], key: str) -> list[Any]:
        in_any_order = key in ("managedFields", "resourceRules", "nonResourceRules") or (
            key == "causes" and values and values[0].get("reason") == "FieldManagerConflict"
        )
        return (
            sorted(values, key=lambda one: orjson.dumps(one, option=orjson.OPT_SORT_KEYS)) if in_any_order else values
        )

    def _keeping(self, instead: str, match: re.Match[str]) -> str:
        return match[0] if match[0] in self._kept else instead

    def _text(self, text: str, key: str) -> str:
        if key == "resourceVersion" and text.isdigit() and text != "0":
            return "<rv>"
        if text and (key in _BUILD or key in ("kubernetes.io/hostname", "since")):
            return f"<{key}>"
        for pattern, instead in _PARTS:
            text = pattern.sub(instead, text)
        for pattern, instead in ((_UUID, "<uid>"), (_TIME, "<time>"), (_ADDRESS, "<ip>")):
            text = pattern.sub(partial(self._keeping, instead), text)
        for pattern, instead in _WORDS:
            text = pattern.sub(instead, text)
        text = _LIMITS.sub(_sorted_limits, text)
        for pattern, instead in self._drawn:
            text = pattern.sub(instead, text)
        return text


# what carob has and upstream has not: the metrics that it serves itself, and objects in lists of everything
OWN_GROUP = "metrics.k8s.io"
OWN_OBJECTS = re.compile("system:carob:.*|carob-.*|kube-dns|10-43-0-10|10\\.43\\.0\\.10|cluster-info|local-path")


def _without_own(found: Tree, step: Tree) -> Tree:
    """An answer without what is carob's own."""
    if "answer" not in found or not step["request"].startswith("GET /") or "namespaces/" in step["request"]:
        return found
    return found | {"answer": _upstreams(found["answer"])}


def _upstreams(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _upstreams(value) for key, value in tree.items() if OWN_GROUP not in key}
    return [_upstreams(one) for one in tree if not _is_own(one)] if isinstance(tree, list) else tree


def _is_own(one: Any) -> bool:
    if isinstance(one, str):
        return OWN_GROUP in one
    if not isinstance(one, dict):
        return False
    name = str((one.get("metadata") or {}).get("name") or "")
    of_group = OWN_GROUP in name or OWN_GROUP in str(one.get("name") or "")
    return of_group or one.get("apiGroups") == [OWN_GROUP] or OWN_OBJECTS.fullmatch(name) is not None


_REQUEST = ("request", "headers", "body", "text", "repeat", "edit")


def _sorted_limits(match: re.Match[str]) -> str:
    # upstream's own order is that of a map
    return "forbidden: [" + ", ".join(sorted(re.split(r", (?=m(?:ax|in)imum )", match[1]))) + "]"


def compared(step: Tree, found: Tree, normal: Normal) -> list[str]:
    """How an answer differs from the recorded one."""
    wanted: Tree = {"status": step["status"], "media": step.get("media", "application/json")}
    wanted["said"] = {
        name: value if isinstance(value, list) else [value] for name, value in step.get("said", {}).items()
    }
    wanted |= {key: step[key] for key in ("answer", "events", "words") if key in step}
    have = normal.value(found)
    for one in (wanted, have):
        for name, values in one["said"].items():
            one["said"][name] = sorted(normal.value(values))
        if one["media"] in (None, ""):
            one["media"] = None
    for key in step.get("ignore", ()):
        wanted, have = without(wanted, key), without(have, key)
    return differences(normal.value(wanted), have)


def without(tree: Any, key: str) -> Any:
    """The tree without a key, wherever it stands."""
    if isinstance(tree, dict):
        return {name: without(one, key) for name, one in tree.items() if name != key}
    return [without(one, key) for one in tree] if isinstance(tree, list) else tree


def differences(want: Any, have: Any, place: str = "") -> list[str]:
    """One line a place where two trees differ."""
    if isinstance(want, dict) and isinstance(have, dict):
        out: list[str] = []
        for key in sorted({*want, *have}):
            if key not in have:
                out.append(f"{place}/{key}: missing, want {_short(want[key])}")
            elif key not in want:
                out.append(f"{place}/{key}: extra {_short(have[key])}")
            else:
                out += differences(want[key], have[key], f"{place}/{key}")
        return out
    if isinstance(want, list) and isinstance(have, list):
        out = [] if len(want) == len(have) else [f"{place}: want {len(want)} items, have {len(have)}"]
        for number, (one, other) in enumerate(zip(want, have, strict=False)):
            out += differences(one, other, f"{place}/{number}")
        return out
    return [] if type(want) is type(have) and want == have else [f"{place}: want {_short(want)}, have {_short(have)}"]


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) < 300 else text[:300] + "…"
