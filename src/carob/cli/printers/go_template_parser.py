"""Go templates, read: text and actions become nodes.

Pure. Source: text/template/parse (lex.go, parse.go, node.go).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)|(?P<char>'(?:[^'\\\n]|\\.)+')
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?))
    |(?P<field>\.[A-Za-z_]\w*)|(?P<variable>\$\w*)|(?P<word>[A-Za-z_]\w*)|(?P<sign>:=|[=|(),.])""",
    re.VERBOSE,
)
_BLOCKS = ("if", "range", "with")
_FUNCTIONS = re.compile(
    "and|base64decode|call|eq|exists|ge|gt|html|index|js|le|len|lt|ne|not|or|print|printf|println|slice|urlquery"
)


class TemplateError(Exception):
    """A template that cannot be parsed; the text is Go's, without the template's name."""


class Number(int):
    """A number written in a template: Go's `int`, where numbers of objects are `int64`."""


@dataclass(slots=True)
class Node:
    """One piece. `kind` says which fields count; `position` is where Go would point at."""

    kind: str
    position: int
    text: str = ""
    value: Any = None
    fields: tuple[str, ...] = ()
    children: list[Node] = field(default_factory=list)
    pipe: Node | None = None
    declared: tuple[str, ...] = ()
    assigns: bool = False
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)

    def shown(self) -> str:
        """As Go writes it in a message."""
        if self.kind == "pipe":
            head = ", ".join(self.declared) + (" = " if self.assigns else " := ") if self.declared else ""
            return head + " | ".join(child.shown() for child in self.children)
        if self.kind == "command":
            return " ".join(f"({c.shown()})" if c.kind == "pipe" else c.shown() for c in self.children)
        if self.kind == "chain":
            inner = self.children[0].shown()
            return (f"({inner})" if self.children[0].kind == "pipe" else inner) + "".join(f".{f}" for f in self.fields)
        if self.kind == "template":
            return f"{{{{template {json.dumps(self.text)}{' ' + self.pipe.shown() if self.pipe else ''}}}}}"
        return self.text


@dataclass(slots=True)
class _Token:
    kind: str
    text: str
    position: int


class Parser:
    """One template. `nodes` is what it consists of, `defined` the templates that it defines by name."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces = self._lex()
        self._next = 0
        self._tokens: list[_Token] = []
        self._at = 0
        self._variables = ["$"]
        self._ranges = 0
        self.defined: dict[str, list[Node]] = {}
        self.nodes, ended_by = self._list(top=True)
        if ended_by:
            raise TemplateError(f"unexpected {{{{{ended_by}}}}}")

    # --- text and actions

    def _lex(self) -> list[tuple[str, int, Any]]:
        """Texts, and actions as their tokens."""
        pieces: list[tuple[str, int, Any]] = []
        at, trims = 0, False
        while at <= len(self._text):
            start = self._text.find("{{", at)
            literal = self._text[at:] if start < 0 else self._text[at:start]
            if trims:
                literal = literal.lstrip(" \t\r\n")
            if start < 0:
                pieces.append(("text", at, literal))
                break
            inner = start + 2
            if re.match(r"-[ \t\r\n]", self._text[inner : inner + 2]):
                literal = literal.rstrip(" \t\r\n")
                inner += 1
            pieces.append(("text", at, literal))
            comment = re.compile(r"[ \t\r\n]*/\*").match(self._text, inner)
            at, trims = self._comment(inner) if comment else self._action(inner, pieces)
        return pieces

    def _comment(self, at: int) -> tuple[int, bool]:
        end = self._text.find("*/", at)
        if end < 0:
            raise TemplateError("unclosed comment")
        close = re.compile(r"([ \t\r\n]+-)?\}\}").match(self._text, end + 2)
        if not close:
            raise TemplateError("comment ends before closing delimiter")
        return close.end(), bool(close.group(1))

    def _action(self, at: int, pieces: list[tuple[str, int, Any]]) -> tuple[int, bool]:
        tokens: list[_Token] = []
        first = at
        while True:
            close = re.compile(r"([ \t\r\n]+-)?\}\}").match(self._text, at)
            if close:
                pieces.append(("action", first, tokens))
                return close.end(), bool(close.group(1))
            if at >= len(self._text):
                raise TemplateError("unclosed action")
            match = _TOKEN.match(self._text, at)
            if not match:
                raise TemplateError(self._what_is_wrong(at))
            kind = str(match.lastgroup)
            if kind != "space":
                tokens.append(_Token(kind, match.group(), at))
            elif tokens:
                tokens.append(_Token("space", " ", at))
            at = match.end()

    def _what_is_wrong(self, at: int) -> str:
        sign = self._text[at]
        if sign in "\"'`":
            names = {'"': "quoted string", "`": "raw quoted string", "'": "character constant"}
            return f"unterminated {names[sign]}"
        return f"unrecognized character in action: U+{ord(sign):04X} '{sign}'"

    # --- lists of nodes

    def _list(self, *, top: bool = False) -> tuple[list[Node], str]:
        """Nodes up to {{end}} or {{else …}}, and which of them it was; at the top up to the end of the text."""
        nodes: list[Node] = []
        while self._next < len(self._pieces):
            kind, position, value = self._pieces[self._next]
            self._next += 1
            if kind == "text":
                if value:
                    nodes.append(Node("text", position, value))
                continue
            self._tokens, self._at = [t for t in value if t.kind != "space" or value[-1] is not t], 0
            word = self._peek()
            name = word.text if word and word.kind == "word" else ""
            if name in ("end", "else"):
                return nodes, name
            node = self._statement(name, position)
            if node is not None:
                nodes.append(node)
        if not top:
            raise TemplateError("unexpected EOF")
        return nodes, ""

    def _statement(self, name: str, position: int) -> Node | None:
        if name in _BLOCKS:
            self._take()
            return self._block(name, position)
        if name in ("break", "continue"):
            if not self._ranges:
                raise TemplateError(f"{{{{{name}}}}} outside {{{{range}}}}")
            return Node(name, position)
        if name == "define":
            self._take()
            self._define(self._template_name("define clause"))
            return None
        if name in ("template", "block"):
            return self._template(name)
        return Node("action", position, pipe=self._pipeline("command"))

    def _block(self, name: str, position: int) -> Node:
        mark = len(self._variables)
        node = Node(name, position, pipe=self._pipeline(name))
        self._ranges += name == "range"
        node.body, ended_by = self._list()
        self._ranges -= name == "range"
        if ended_by == "else":
            self._take()
            again = self._peek_word()
            if again in ("if", "with") and name == again:
                self._take()
                node.otherwise = [self._block(again, position)]
            else:
                self._ranges += name == "range" and self._ranges > 0
                node.otherwise, ended_by = self._list()
                if ended_by == "else":
                    raise TemplateError("expected end; found {{else}}")
        del self._variables[mark:]
        return node

    def _define(self, name: str) -> None:
        outer, self._variables = self._variables, ["$"]
        body, ended_by = self._list()
        if ended_by == "else":
            raise TemplateError("unexpected {{else}} in define clause")
        self._variables = outer
        self.defined[name] = body

    def _template(self, kind: str) -> Node:
        self._take()
        self._skip()
        position = self._peek_position()
        name = self._template_name(f"{kind} clause")
        self._skip()
        pipe = self._pipeline(f"{kind} clause") if self._peek() or kind == "block" else None
        if kind == "block":
            self._define(name)
        return Node("template", position, name, pipe=pipe)

    def _template_name(self, context: str) -> str:
        self._skip()
        token = self._take()
        if token is None or token.kind not in ("string", "raw"):
            raise TemplateError(f"unexpected {self._said(token)} in {context}")
        return str(_literal(token))

    # --- pipelines

    def _pipeline(self, context: str, *, closed_by: str = "") -> Node:
        self._skip()
        pipe = Node("pipe", self._peek_position())
        self._declarations(pipe, context)
        while True:
            self._skip()
            token = self._peek()
            if token is None or token.text == closed_by:
                break
            pipe.children.append(self._command(context))
            self._skip()
            token = self._peek()
            if token is not None and token.text == "|":
                self._take()
                self._skip()
                if self._peek() is None:
                    raise TemplateError(f"missing value for {context}")
            elif token is not None and token.text != closed_by:
                raise TemplateError(f"unexpected {self._said(token)} in {context}")
        if not pipe.children:
            raise TemplateError(f"missing value for {context}")
        pipe.position = pipe.children[0].position if not pipe.declared else pipe.position
        return pipe

    def _declarations(self, pipe: Node, context: str) -> None:
        """`$x :=`, `$x =`, and for ranges `$i, $x :=`."""
        words = [t for t in self._tokens[self._at :] if t.kind != "space"]
        names = [words[0].text] if words and words[0].kind == "variable" else []
        if names and context == "range" and len(words) > 2 and words[1].text == "," and words[2].kind == "variable":
            names.append(words[2].text)
        sign = words[2 * len(names) - 1] if names and len(words) >= 2 * len(names) else None
        if sign is None or sign.text not in (":=", "="):
            return
        self._at = self._tokens.index(sign) + 1
        pipe.declared, pipe.assigns = tuple(names), sign.text == "="
        if pipe.assigns:
            for name in names:
                self._known(name)
        else:
            self._variables += names

    def _command(self, context: str) -> Node:
        command = Node("command", self._peek_position())
        while True:
            self._skip()
            token = self._peek()
            if token is None or token.text in ("|", ")"):
                break
            command.children.append(self._operand(context))
            token = self._peek()
            if token is not None and token.kind != "space" and token.text not in ("|", ")"):
                raise TemplateError(f"unexpected {self._said(token)} in operand")
        if not command.children:
            raise TemplateError("empty command")
        return command

    def _operand(self, context: str) -> Node:
        node = self._term(context)
        fields: list[_Token] = []
        while (token := self._peek()) is not None and token.kind == "field":
            fields.append(token)
            self._take()
        if not fields:
            return node
        if node.kind in ("string", "number", "bool", "nil"):
            raise TemplateError(f"unexpected . after term {json.dumps(node.text)}")
        names = tuple(t.text[1:] for t in fields)
        if node.kind in ("field", "variable"):
            text = node.text + "".join(t.text for t in fields)
            return Node(node.kind, fields[0].position, text, node.value, node.fields + names)
        return Node("chain", fields[0].position, "", None, names, [node])

    def _term(self, context: str) -> Node:
        token = self._take()
        assert token is not None
        kind, text, position = token.kind, token.text, token.position
        if kind == "word":
            if text in ("true", "false"):
                return Node("bool", position, text, text == "true")
            if text == "nil":
                return Node("nil", position, text)
            if not _FUNCTIONS.fullmatch(text):
                raise TemplateError(f'function "{text}" not defined')
            return Node("function", position, text)
        if kind == "field":
            return Node("field", position, text, None, (text[1:],))
        if kind == "variable":
            self._known(text)
            return Node("variable", position, text, text)
        if kind in ("string", "raw"):
            return Node("string", position, text, _literal(token))
        if kind in ("char", "number"):
            return Node("number", position, text, _literal(token))
        if text == ".":
            return Node("dot", position, text)
        if text == "(":
            pipe = self._pipeline("parenthesized pipeline", closed_by=")")
            if self._take() is None:
                raise TemplateError("unclosed left paren")
            return pipe
        raise TemplateError(f"unexpected {self._said(token)} in {context}")

    def _known(self, name: str) -> None:
        if name not in self._variables:
            raise TemplateError(f"undefined variable {json.dumps(name)}")

    # --- tokens

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _peek_word(self) -> str:
        self._skip()
        token = self._peek()
        return token.text if token is not None and token.kind == "word" else ""

    def _peek_position(self) -> int:
        token = self._peek()
        return token.position if token is not None else len(self._text)

    def _take(self) -> _Token | None:
        token = self._peek()
        self._at += 1
        return token

    def _skip(self) -> None:
        while (token := self._peek()) is not None and token.kind == "space":
            self._at += 1

    def _said(self, token: _Token | None) -> str:
        return "{{end}}" if token is None else f"<{token.text}>" if token.kind == "word" else json.dumps(token.text)


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)


def _escaped(match: re.Match[str]) -> str:
    code = match.group(1)
    if len(code) > 1:
        return chr(int(code, 8) if code.isdigit() else int(code[1:], 16))
    return _ESCAPES.get(code, code)


def _literal(token: _Token) -> Any:
    if token.kind == "raw":
        return token.text[1:-1]
    if token.kind == "string":
        return _ESCAPE.sub(_escaped, token.text[1:-1])
    if token.kind == "char":
        return Number(ord(_ESCAPE.sub(_escaped, token.text[1:-1])[0]))
    text = token.text.replace("_", "")
    if re.fullmatch(r"[-+]?0[0-7]+", text):
        return Number(int(text, 8))
    try:
        return Number(int(text, 0))
    except ValueError:
        return float(text)
