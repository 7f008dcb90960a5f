"""`-o json` and `-o yaml`: trees with sorted keys, as Go's encoders write them.

Source: encoding/json (indent 4, <, > and & escaped), sigs.k8s.io/yaml on go-yaml v2 (quotes what would read as
another type, literal blocks for text of several lines, never folds).
"""

from __future__ import annotations

import json
import re
from functools import cmp_to_key
from typing import Any

_OLD_BOOLS = frozenset(
    word
    for base in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    for word in (base, base.capitalize(), base.upper())
)
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_NUMBER = re.compile(
    r"[-+]?(?:0b[0-1_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_TIMESTAMP = re.compile(r"\d{4}-\d{1,2}-\d{1,2}(?:(?:[Tt]|[ \t]+)\d{1,2}:\d{1,2}:\d{1,2}(?:\.\d*)?.*)?")


def without_managed_fields(tree: Any) -> Any:
    """The object or list without `metadata.managedFields`, as kubectl shows objects."""
    for item in tree.get("items", ()) if isinstance(tree, dict) and "items" in tree else (tree,):
        metadata = item.get("metadata") if isinstance(item, dict) else None
        if isinstance(metadata, dict):
            metadata.pop("managedFields", None)
    return tree


def to_json(tree: Any, *, sort: bool = True) -> str:
    """Indented JSON with a newline at its end."""
    text = json.dumps(tree, indent=4, sort_keys=sort, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"


def to_compact_json(tree: Any) -> str:
    """One line, as Go's encoder writes it."""
    text = json.dumps(tree, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def reads_as_text(text: str) -> bool:
    """Whether YAML 1.1 reads the plain scalar as text, and not as a number, bool, null or time."""
    if not text or text in _OLD_BOOLS or text == "~":
        return False
    return not (_NUMBER.fullmatch(text) or _BASE_60.fullmatch(text) or _TIMESTAMP.fullmatch(text))


def to_yaml(tree: Any) -> str:
    """Block-style YAML, sorted keys, lists not indented, long text folded at 80 columns."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        """go-yaml's choices."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent_text(dumper: Any, text: str) -> Any:
        style = None
        if "\n" in text:
            style = "|"
        elif not reads_as_text(text):
            style = '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    # go-yaml writes `<<` and `=` without quotes
    special = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")
    Dumper.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in special]
        for first, resolvers in Dumper.yaml_implicit_resolvers.items()
    }
    Dumper.add_representer(str, represent_text)
    return str(
        yaml.dump(_sorted(tree), Dumper=Dumper, default_flow_style=False, sort_keys=False, allow_unicode=True, width=80)
    )


def _sorted(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _sorted(tree[key]) for key in sorted(tree, key=_go_order)}
    return [_sorted(item) for item in tree] if isinstance(tree, list) else tree


def _compare_keys(a: str, b: str) -> int:
    """go-yaml's order of keys: as people count (`a9` before `a10`), letters behind other signs."""
    for i in range(min(len(a), len(b))):
        if a[i] == b[i]:
            continue
        left, right = a[i].isalpha(), b[i].isalpha()
        if left and right:
            return -1 if a[i] < b[i] else 1
        if left or right:
            return -1 if right else 1
        return _compare_numbers(a, b, i)
    return len(a) - len(b)


def _compare_numbers(a: str, b: str, i: int) -> int:
    start = 0
    if "0" in (a[i], b[i]):
        before = _TRAILING_DIGITS.search(a[:i])
        start = 1 if before and before.group().strip("0") else 0
    first, second = (_LEADING_DIGITS.match(text[i:]) for text in (a, b))
    x, y = (match.group() if match else "" for match in (first, second))
    left, right = (int(f"{start}{text}") if start else int(text or "0") for text in (x, y))
    if left != right:
        return -1 if left < right else 1
    if len(x) != len(y):
        return len(x) - len(y)
    return -1 if a[i] < b[i] else 1


_TRAILING_DIGITS = re.compile(r"[0-9]+$")
_LEADING_DIGITS = re.compile(r"[0-9]+")
_go_order = cmp_to_key(_compare_keys)
