"""JSONPath templates as kubectl takes them: `{.items[*].metadata.name}`, `{range …}{end}`, filters, slices, unions.

Pure. Source: client-go util/jsonpath.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from carob.cli.errors import CommandError
from carob.cli.printers import go_text

_IDENTIFIER = re.compile(r"(?:[^\s.\[\]{}()\\'\"|,:=!<>&?@$*]|\\.)+")
_RANGE = re.compile(r"range(?=[\s{.@\[])")


@dataclass(slots=True)
class Step:
    """One step of a path: field, wildcard, recursive, index/slice, union, filter."""

    kind: str
    value: Any = None


@dataclass(slots=True)
class Node:
    """One piece of a template: text, path, literal or range with its body."""

    kind: str
    text: str = ""
    steps: list[Step] = field(default_factory=list)
    body: list[Node] = field(default_factory=list)


class _Failed(Exception):
    """A template that cannot be filled in with this object."""


class JsonPath:
    """A parsed template. Raises: CommandError when it cannot be parsed."""

    def __init__(self, template: str, *, allow_missing: bool = True) -> None:
        self._template = template
        self._position = 0
        self._allow_missing = allow_missing
        self._open_end = False
        self._nodes = self._parse_nodes(inside_range=False)

    def render(self, tree: Any) -> str:
        """The template filled in. Raises: CommandError for a missing key where that is not allowed."""
        try:
            return self._render(self._nodes, tree, tree)
        except _Failed as error:
            raise CommandError(
                f'error: error executing jsonpath "{self._template}": Error executing template: {error}. Printing more '
                f"information for debugging the template:\n\ttemplate was:\n\t\t{self._template}\n\tobject given to "
                f"jsonpath engine was:\n\t\t{go_text.syntax(tree)}\n\n"
            ) from error

    def results(self, tree: Any) -> list[list[Any]]:
        """The values of each of the template's paths."""
        return [self._walk(node.steps, [tree], tree) for node in self._nodes if node.kind == "path"]

    def values(self, tree: Any) -> list[Any]:
        """The values of the template's first path."""
        for node in self._nodes:
            if node.kind == "path":
                return self._walk(node.steps, [tree], tree)
        return []

    # --- rendering

    def _render(self, nodes: list[Node], current: Any, root: Any) -> str:
        out = []
        for node in nodes:
            if node.kind == "text":
                out.append(node.text)
            elif node.kind == "end":
                raise _Failed("not in range, nothing to end")
            elif node.kind == "range":
                for value in self._walk(node.steps, [current], root):
                    out.append(self._render(node.body, value, root))
            else:
                out.append(" ".join(text_of(v) for v in self._walk(node.steps, [current], root)))
        return "".join(out)

    def _walk(self, steps: list[Step], values: list[Any], root: Any) -> list[Any]:
        for step in steps:
            values = self._step(step, values, root)
        return values

    def _step(self, step: Step, values: list[Any], root: Any) -> list[Any]:
        if step.kind == "root":
            return [root]
        if step.kind == "inner":
            return self._walk(step.value, values, root)
        if step.kind == "union":
            return [v for choice in step.value for v in self._walk(choice, values, root)]
        found: list[Any] = []
        for value in values:
            found += getattr(self, "_on_" + step.kind)(step.value, value, root)
        return found

    def _on_field(self, name: str, value: Any, root: Any) -> list[Any]:
        if isinstance(value, dict):
            if name in value:
                return [] if value[name] is None else [value[name]]
            if self._allow_missing:
                return []
        elif self._allow_missing or value is None:
            return []
        raise _Failed(f"{name} is not found")

    def _on_wildcard(self, _: Any, value: Any, root: Any) -> list[Any]:
        if isinstance(value, list):
            return list(value)
        return [value[key] for key in sorted(value)] if isinstance(value, dict) else []

    def _on_recursive(self, _: Any, value: Any, root: Any) -> list[Any]:
        found = [value]
        for child in self._on_wildcard(None, value, root):
            if isinstance(child, (dict, list)):
                found += self._on_recursive(None, child, root)
        return found

    def _on_slice(self, bounds: tuple[int | None, int | None, int | None], value: Any, root: Any) -> list[Any]:
        if not isinstance(value, list):
            if self._allow_missing:
                return []
            raise _Failed(f"{go_text.plain(value)} is not array or slice")
        return value[slice(*bounds)]

    def _on_index(self, index: int, value: Any, root: Any) -> list[Any]:
        if not isinstance(value, list):
            return []
        if -len(value) <= index < len(value):
            return [value[index]]
        if self._allow_missing and not value:
            return []
        raise _Failed(f"array index out of bounds: index {index}, length {len(value)}")

    def _on_filter(self, condition: tuple[Any, str, Any], value: Any, root: Any) -> list[Any]:
        items = value if isinstance(value, list) else [value]
        return [item for item in items if self._holds(condition, item, root)]

    def _holds(self, condition: tuple[Any, str, Any], item: Any, root: Any) -> bool:
        left, operator, right = condition
        lefts = self._walk(left, [item], root) if isinstance(left, list) else [left]
        if operator == "exists":
            return bool(lefts)
        rights = self._walk(right, [item], root) if isinstance(right, list) else [right]
        if not lefts or not rights:
            return False
        return _compare(lefts[0], operator, rights[0])

    # --- parsing

    def _parse_nodes(self, *, inside_range: bool) -> list[Node]:
        nodes: list[Node] = []
        while self._position < len(self._template):
            start = self._template.find("{", self._position)
            if start < 0:
                nodes.append(Node("text", _unescape(self._template[self._position :])))
                self._position = len(self._template)
                break
            if start > self._position:
                nodes.append(Node("text", _unescape(self._template[self._position : start])))
            self._position = start + 1
            action = self._parse_action(nodes)
            if action == "end":
                if inside_range:
                    return nodes
                nodes.append(Node("end"))
        self._open_end = inside_range
        return nodes

    def _parse_action(self, nodes: list[Node]) -> str:
        """What stands between braces; `end` when it is {end}."""
        self._skip_blanks()
        if self._template.startswith("end", self._position):
            self._position += 3
            self._expect("}")
            return "end"
        if _RANGE.match(self._template, self._position):
            self._position += len("range")
            self._skip_blanks()
            steps = self._parse_path()
            self._expect("}")
            body = self._parse_nodes(inside_range=True)
            nodes.append(Node("range", steps=steps, body=body))
            if self._open_end:
                # without an end, what follows belongs to the range and to what is behind it
                nodes += body
            return "range"
        if self._take("}"):
            nodes.append(Node("path"))
            return "path"
        while not self._take("}"):
            self._skip_blanks()
            if self._position >= len(self._template):
                raise self._fail("unclosed action")
            if self._template[self._position] in "\"'":
                nodes.append(Node("text", self._parse_quoted()))
            else:
                nodes.append(Node("path", steps=self._parse_path()))
            self._skip_blanks()
        return "path"

    def _parse_path(self) -> list[Step]:
        steps: list[Step] = []
        if self._take("$"):
            steps.append(Step("root"))
        else:
            self._take("@")
        while self._position < len(self._template):
            if self._template.startswith("..", self._position):
                self._position += 1
                steps.append(Step("recursive"))
            elif self._take("."):
                if self._take("*"):
                    steps.append(Step("wildcard"))
                elif match := _IDENTIFIER.match(self._template, self._position):
                    steps.append(Step("field", re.sub(r"\\(.)", r"\1", match.group())))
                    self._position = match.end()
                elif self._position < len(self._template) and self._template[self._position] == "[":
                    continue
            elif self._take("["):
                steps.append(self._parse_bracket())
            elif not steps and (match := _IDENTIFIER.match(self._template, self._position)):
                steps.append(Step("field", re.sub(r"\\(.)", r"\1", match.group())))
                self._position = match.end()
            else:
                break
        if not steps and self._position < len(self._template) and self._template[self._position] not in "} ":
            raise self._fail(f"unrecognized character in action: U+{ord(self._template[self._position]):04X}")
        return steps

    def _parse_bracket(self) -> Step:
        if self._take("?"):
            if self._template.find(")]", self._position) < 0:
                raise self._fail("unterminated filter")
            self._expect("(")
            condition = self._parse_condition()
            self._expect(")")
            self._expect("]")
            return Step("filter", condition)
        choices: list[Step] = []
        while True:
            self._skip_blanks()
            choices.append(self._parse_choice())
            self._skip_blanks()
            if self._take("]"):
                break
            self._expect(",")
        return choices[0] if len(choices) == 1 else Step("union", [[c] for c in choices])

    def _parse_choice(self) -> Step:
        if self._take("*"):
            return Step("wildcard")
        if self._template[self._position : self._position + 1] in ("'", '"'):
            return Step("inner", JsonPath("{." + self._parse_quoted() + "}")._nodes[0].steps)
        if match := re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?").match(self._template, self._position):
            self._position = match.end()
            return Step("slice", tuple(int(g) if g else None for g in match.groups()))
        if match := re.compile(r"-?\d+").match(self._template, self._position):
            self._position = match.end()
            return Step("index", int(match.group()))
        wrong = re.compile(r"[^],]*").match(self._template, self._position)
        raise self._fail(f"invalid array index {wrong.group() if wrong else ''}")

    def _parse_condition(self) -> tuple[Any, str, Any]:
        left = self._parse_operand()
        self._skip_blanks()
        match = re.compile(r"==|!=|<=|>=|<|>").match(self._template, self._position)
        if not match:
            return left, "exists", None
        self._position = match.end()
        self._skip_blanks()
        right = self._parse_operand()
        self._skip_blanks()
        return left, match.group(), right

    def _parse_operand(self) -> Any:
        self._skip_blanks()
        if self._template[self._position : self._position + 1] in ("'", '"'):
            return self._parse_quoted()
        if match := re.compile(r"-?\d+(\.\d+)?|true|false").match(self._template, self._position):
            self._position = match.end()
            return json.loads(match.group())
        return self._parse_path()

    def _parse_quoted(self) -> str:
        quote = self._template[self._position]
        end = self._position + 1
        while end < len(self._template) and self._template[end] != quote:
            end += 2 if self._template[end] == "\\" else 1
        if end >= len(self._template):
            raise self._fail("unterminated quoted string")
        text = self._template[self._position + 1 : end]
        self._position = end + 1
        return _unescape(text)

    def _skip_blanks(self) -> None:
        while self._position < len(self._template) and self._template[self._position] in " \t":
            self._position += 1

    def _take(self, text: str) -> bool:
        if self._template.startswith(text, self._position):
            self._position += len(text)
            return True
        return False

    def _expect(self, text: str) -> None:
        self._skip_blanks()
        if not self._take(text):
            raise self._fail("unclosed action" if text == "}" else f"expected {text}")

    def _fail(self, why: str) -> CommandError:
        return CommandError(f"error: error parsing jsonpath {self._template}, {why}")


def _unescape(text: str) -> str:
    return re.sub(
        r"\\(.)", lambda m: {"n": "\n", "t": "\t", "r": "\r"}.get(m.group(1), m.group(1)), text, flags=re.DOTALL
    )


def text_of(value: Any) -> str:
    """As Go prints a value of a template: text bare, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _compare(left: Any, operator: str, right: Any) -> bool:
    if isinstance(left, (int, float)) != isinstance(right, (int, float)):
        left, right = text_of(left), text_of(right)
    if operator == "==":
        return bool(left == right)
    if operator == "!=":
        return bool(left != right)
    if operator == "<":
        return bool(left < right)
    if operator == ">":
        return bool(left > right)
    return bool(left <= right) if operator == "<=" else bool(left >= right)


def relaxed(expression: str) -> str:
    """`.metadata.name`, `metadata.name`, `{.metadata.name}` all mean the same.

    Raises: CommandError. Source: kubectl get.RelaxedJSONPathExpression.
    """
    match = re.fullmatch(r"\{\.?([^{}]+)\}|\.?([^{}]+)", expression)
    if not expression or not match:
        raise CommandError(
            "error: unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'"
        )
    return "{." + (match.group(1) or match.group(2)).removeprefix(".") + "}"
