"""`-o json` and `-o yaml`: trees with sorted keys, as Go's encoders write them.

Source: encoding/json (indent 4, <, > and & escaped), sigs.k8s.io/yaml on go-yaml v2 (quotes what would read as
another type, literal blocks for text of several lines, never folds).
"""

from __future__ import annotations

import json
import re
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


def reads_as_text(text: str) -> bool:
    """Whether YAML 1.1 reads the plain scalar as text, and not as a number, bool, null or time."""
    if not text or text in _OLD_BOOLS or text in ("~", "<<", "="):
        return False
    return not (_NUMBER.fullmatch(text) or _BASE_60.fullmatch(text) or _TIMESTAMP.fullmatch(text))


def to_yaml(tree: Any) -> str:
    """Block-style YAML, sorted keys, lists not indented."""
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

    Dumper.add_representer(str, represent_text)
    return str(
        yaml.dump(tree, Dumper=Dumper, default_flow_style=False, sort_keys=True, allow_unicode=True, width=2**31 - 1)
    )
