"""Go templates, filled in: `-o go-template=…`.

Pure. Source: text/template exec.go; cli-runtime pkg/printers/template.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.cli.errors import CommandError
from carob.cli.printers import go_text
from carob.cli.printers.go_template_functions import CallError, apply, truth, type_name
from carob.cli.printers.go_template_parser import Node, Parser, TemplateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAME = "output"
_NOTHING = object()


class DoesNotFit(CommandError):
    """A template that cannot be filled in with this object. `printed`: what kubectl prints before it says why."""

    def __init__(self, message: str, printed: str) -> None:
        super().__init__(message)
        self.printed = printed


class _Failed(Exception):
    """The template does not fit the object; the text is Go's."""


class _Break(Exception):
    """{{break}}."""


class _Continue(Exception):
    """{{continue}}."""


class GoTemplate:
    """A parsed template. Raises: CommandError when it cannot be parsed."""

    def __init__(self, text: str, *, allow_missing: bool = True) -> None:
        self._text = text
        self._allow_missing = allow_missing
        try:
            parsed = Parser(text)
        except TemplateError as error:
            # Go names the line where it stopped reading
            raise CommandError(f"error: error parsing template {text}, template: {_NAME}:1: {error}") from error
        self._nodes, self._defined = parsed.nodes, parsed.defined
        self._out: list[str] = []
        self._variables: list[tuple[str, Any]] = []

    def render(self, tree: Any) -> str:
        """The template filled in. Raises: DoesNotFit."""
        self._out, self._variables = [], [("$", tree)]
        try:
            self._list(self._nodes, tree)
        except _Failed as error:
            raise self._failure(str(error), tree) from error
        return "".join(self._out)

    def _failure(self, why: str, tree: Any) -> DoesNotFit:
        from carob.cli.printers.structured import to_compact_json

        said = (
            f"Error executing template: {why}. Printing more information for debugging the template:\n"
            f"\ttemplate was:\n\t\t{self._text}\n\traw data was:\n\t\t{to_compact_json(tree)}\n"
            f"\tobject given to template engine was:\n\t\t{go_text.plain(tree)}\n\n"
        )
        message = f"error: error executing template {go_text.syntax(self._text)}: {why}"
        return DoesNotFit(message, "".join(self._out) + said)

    # --- statements

    def _list(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            if node.kind == "text":
                self._out.append(node.text)
            elif node.kind == "action":
                assert node.pipe is not None
                value = self._pipeline(node.pipe, dot)
                if not node.pipe.declared:
                    self._out.append("<no value>" if value is None else go_text.plain(value))
            elif node.kind == "break":
                raise _Break
            elif node.kind == "continue":
                raise _Continue
            elif node.kind == "template":
                self._template(node, dot)
            else:
                mark = len(self._variables)
                getattr(self, "_" + node.kind)(node, dot)
                del self._variables[mark:]

    def _if(self, node: Node, dot: Any) -> None:
        assert node.pipe is not None
        self._list(node.body if truth(self._pipeline(node.pipe, dot)) else node.otherwise, dot)

    def _with(self, node: Node, dot: Any) -> None:
        assert node.pipe is not None
        value = self._pipeline(node.pipe, dot)
        if truth(value):
            self._list(node.body, value)
        else:
            self._list(node.otherwise, dot)

    def _range(self, node: Node, dot: Any) -> None:
        assert node.pipe is not None
        pairs = list(self._pairs(node, self._pipeline(node.pipe, dot, declare=False)))
        if not pairs:
            self._list(node.otherwise, dot)
            return
        mark = len(self._variables)
        for key, value in pairs:
            names = node.pipe.declared
            bound = ((names[0], value),) if len(names) == 1 else zip(names, (key, value), strict=False)
            for name, content in bound:
                if node.pipe.assigns:
                    self._assign(name, content)
                else:
                    self._variables.append((name, content))
            try:
                self._list(node.body, value)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del self._variables[mark:]

    def _pairs(self, node: Node, value: Any) -> Iterator[tuple[Any, Any]]:
        if isinstance(value, dict):
            return ((key, value[key]) for key in sorted(value))
        if isinstance(value, list):
            return iter(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return ((n, n) for n in range(value))
        if value is None:
            return iter(())
        assert node.pipe is not None
        # Go points at what it looked at last
        raise self._wrong(node.pipe.children[-1].children[-1], f"range can't iterate over {go_text.plain(value)}")

    def _template(self, node: Node, dot: Any) -> None:
        body = self._defined.get(node.text)
        if body is None:
            raise self._wrong(node, f'template "{node.text}" not defined')
        inner = self._pipeline(node.pipe, dot) if node.pipe else None
        outer, self._variables = self._variables, [("$", inner)]
        self._list(body, inner)
        self._variables = outer

    # --- values

    def _pipeline(self, pipe: Node, dot: Any, *, declare: bool = True) -> Any:
        value: Any = _NOTHING
        for command in pipe.children:
            value = self._command(command, dot, value)
        if declare:
            for name in pipe.declared:
                if pipe.assigns:
                    self._assign(name, value)
                else:
                    self._variables.append((name, value))
        return value

    def _assign(self, name: str, value: Any) -> None:
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return

    def _command(self, command: Node, dot: Any, piped: Any) -> Any:
        first, *others = command.children
        if first.kind == "function":
            return self._call(first.text, command, others, dot, piped)
        if first.kind == "nil" and not others:
            raise self._wrong(first, "nil is not a command")
        if others or piped is not _NOTHING:
            if first.kind in ("field", "chain", "variable"):
                raise self._wrong(first, f"{_last(first)} has arguments but cannot be invoked as function")
            raise self._wrong(first, f"can't give argument to non-function {first.shown()}")
        return self._value(first, dot)

    def _call(self, name: str, command: Node, others: Sequence[Node], dot: Any, piped: Any) -> Any:
        if name in ("and", "or"):
            value: Any = _NOTHING
            for node in others:
                value = self._value(node, dot)
                if truth(value) == (name == "or"):
                    return value
            if piped is not _NOTHING:
                value = piped
            if value is _NOTHING:
                raise self._wrong(command, f"wrong number of args for {name}: want at least 1 got 0")
            return value
        values = [self._value(node, dot) for node in others] + ([] if piped is _NOTHING else [piped])
        try:
            return apply(name, values)
        except CallError as error:
            said = str(error)
            if name == "call" and others:
                said = said.replace("non-function", f"non-function {others[0].shown()}")
            raise self._wrong(command, said) from error

    def _value(self, node: Node, dot: Any) -> Any:
        if node.kind == "dot":
            return dot
        if node.kind == "nil":
            return None
        if node.kind == "function":
            return self._call(node.text, node, (), dot, _NOTHING)
        if node.kind == "pipe":
            return self._pipeline(node, dot)
        if node.kind == "field":
            return self._fields(node, dot)
        if node.kind == "variable":
            found = next(v for n, v in reversed(self._variables) if n == node.value)
            return self._fields(node, found)
        if node.kind == "chain":
            return self._fields(node, self._value(node.children[0], dot))
        return node.value

    def _fields(self, node: Node, value: Any) -> Any:
        for index, name in enumerate(node.fields):
            if isinstance(value, dict):
                if name not in value and not self._allow_missing:
                    raise self._wrong(node, f'map has no entry for key "{name}"')
                value = value.get(name)
            elif value is None:
                if not self._allow_missing:
                    raise self._wrong(node, f'nil data; no entry for key "{name}"')
            elif node.kind == "chain" and index == 0:
                raise self._wrong(node, f"can't evaluate field {name} in type {type_name(value)}")
            else:
                raise self._wrong(node, f"can't evaluate field {name} in type interface {{}}")
        return value

    def _wrong(self, node: Node, why: str) -> _Failed:
        shown, position = node, node.position
        if node.kind == "chain":
            # Go points at what the fields were asked of
            shown = node.children[0]
            position = shown.position
        before = self._text[:position]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1)
        return _Failed(f'template: {_NAME}:{line}:{column}: executing "{_NAME}" at <{shown.shown()}>: {why}')


def _last(node: Node) -> str:
    return node.fields[-1] if node.fields else node.text
