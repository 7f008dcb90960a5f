"""YAML bodies to JSON values as upstream converts them, remembering duplicate keys.

Pure; PyYAML is imported at the first use because it is slow to import. Only the first document counts. The number of
values is limited, so that aliases cannot blow a small text up.

Source: sigs.k8s.io/yaml over go-yaml.
Differs: `0o17` is not an octal number.
"""

from __future__ import annotations

import re
from typing import Any

from carob.api.body_limits import MAX_VALUES, too_many_values
from carob.api.go_json import Pairs

MAX_DEPTH = 500
EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+")


class YamlError(ValueError):
    """Text that is no YAML; the message is upstream's."""


def parse(text: bytes | str) -> tuple[Any, list[str]]:
    """The value (objects as `Pairs`) and what is said of duplicate keys, one text or none.

    Raises: YamlError; ApiError 413.
    """
    import yaml

    loader_class: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loader = loader_class(text)
        try:
            builder = _Builder(loader, yaml)
            value = builder.document()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise YamlError(_words(error)) from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise error if isinstance(error, YamlError) else YamlError(f"yaml: {error}") from None
    duplicates = [f"  line {line}: key {key} already set in map" for line, key in builder.duplicates]
    return value, ["yaml: unmarshal errors:\n" + "\n".join(duplicates)] if duplicates else []


def _words(error: Any) -> str:
    """The message as Go's YAML words it: the line is that of the context, unless that began on the first one."""
    problem = getattr(error, "problem", None)
    if problem is None:
        return f"yaml: {getattr(error, 'reason', None) or error}"
    for mark in (getattr(error, "context_mark", None), getattr(error, "problem_mark", None)):
        if mark is not None and mark.line:
            # a scanner's line is one behind, a parser's is not
            line = mark.line + (type(error).__name__ == "ScannerError")
            return f"yaml: line {line}: {problem}"
    return f"yaml: {problem}"


class _Open:
    """A mapping or sequence whose end has not come yet."""

    def __init__(self, anchor: str | None, mapping: bool, size: int) -> None:
        self.anchor, self.mapping, self.size_before = anchor, mapping, size
        self.pairs = Pairs()
        self.known: dict[str, int] = {}
        """Where the pair of a key stands."""
        self.gaps = False
        self.items: list[Any] = []
        self.key: str | None = None
        self.key_line = 0
        self.merging = False
        self.merged: list[Any] = []


class _Builder:
    """Builds the value from parse events without recursion: libyaml's own composer overflows the stack.

    `duplicates` holds (line, quoted key) of every key that came twice.
    """

    def __init__(self, loader: Any, yaml: Any) -> None:
        self._loader, self._yaml = loader, yaml
        self._size = 0
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._result: Any = None
        self.duplicates: list[tuple[int, str]] = []

    def document(self) -> Any:
        """The first document's value; None if there is none."""
        yaml, loader = self._yaml, self._loader
        while True:
            event = loader.get_event()
            if event is None or isinstance(event, yaml.StreamEndEvent | yaml.DocumentEndEvent):
                return self._result
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._start(event, isinstance(event, yaml.MappingStartEvent))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._end(event)
            elif isinstance(event, yaml.ScalarEvent):
                value = self._scalar(event)
                self._put(value, event, 1)
                if event.anchor:
                    self._anchors[event.anchor] = (value, 1)
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self._anchors:
                    raise YamlError(f"yaml: unknown anchor '{event.anchor}' referenced")
                self._put(self._anchors[event.anchor][0], event, self._anchors[event.anchor][1])

    def _start(self, event: Any, mapping: bool) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise YamlError("yaml: exceeded max depth of 10000")
        top = self._stack[-1] if self._stack else None
        if top is not None and top.mapping and top.key is None and not top.merging:
            raise YamlError(f"yaml: line {event.start_mark.line + 1}: invalid map key")
        self._stack.append(_Open(event.anchor, mapping, self._size))

    def _end(self, event: Any) -> None:
        done = self._stack.pop()
        value: Any = done.items
        if done.mapping:
            for other in done.merged:
                for key, item in other if isinstance(other, Pairs) else ():
                    if key not in done.known:
                        done.known[key] = len(done.pairs)
                        done.pairs.append((key, item))
            if done.gaps:
                done.pairs[:] = [pair for i, pair in enumerate(done.pairs) if done.known[pair[0]] == i]
            value = done.pairs
        size = self._size - done.size_before + 1
        if done.anchor:
            self._anchors[done.anchor] = (value, size)
        self._put(value, event, 1)

    def _put(self, value: Any, event: Any, size: int) -> None:
        self._size += size
        if self._size > MAX_VALUES:
            if not self._anchors:
                raise too_many_values()
            raise YamlError("yaml: document contains excessive aliasing")
        if not self._stack:
            self._result = value
            return
        top = self._stack[-1]
        if not top.mapping:
            top.items.append(value)
        elif top.merging:
            plain_list = isinstance(value, list) and not isinstance(value, Pairs)
            top.merged += value if plain_list else [value]
            top.merging = False
        elif top.key is None:
            self._take_key(top, value, event)
        else:
            if top.key in top.known:
                self.duplicates.append((top.key_line, f'"{top.key}"'))
                top.gaps = True  # the earlier pairs of this key go at the end
            top.known[top.key] = len(top.pairs)
            top.pairs.append((top.key, value))
            top.key = None

    def _take_key(self, top: _Open, value: Any, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(value, list):
            raise YamlError(f"yaml: line {line}: invalid map key")
        if value == "<<" and getattr(event, "implicit", (False,))[0]:
            top.merging = True
            return
        if isinstance(value, bool):
            value = "true" if value else "false"
        top.key, top.key_line = "null" if value is None else str(value), line

    def _scalar(self, event: Any) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(self._yaml.ScalarNode, event.value, event.implicit)
        short = tag.rpartition(":")[2]
        if short in ("null", "bool", "int", "float"):
            return self._loader.construct_object(self._yaml.ScalarNode(tag, event.value, event.start_mark))
        if short == "str" and event.implicit[0] and EXPONENT.fullmatch(event.value):
            return float(event.value)
        # timestamps and what else YAML knows are texts in JSON; binary is base64 text already
        return event.value
