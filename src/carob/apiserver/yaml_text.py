"""YAML answers, written as upstream's encoder writes them: keys sorted, lists not indented, `"1"` in double quotes.

Pure. PyYAML is imported when the first YAML answer is written. Its emitter in C, from which Go's was made, is ten times
as fast as the one in Python, and escapes and breaks the same texts as upstream's.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from carob.api.yaml_tree import EXPONENT

# what only double quotes can hold
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]").search
# booleans for upstream's reader, texts for others
_WORDS = frozenset("yYnN")


def to_yaml(tree: Any) -> bytes:
    """The YAML of a JSON tree."""
    import yaml

    text: str = yaml.dump(tree, Dumper=_dumper(), default_flow_style=False, allow_unicode=True, width=80)
    return text.encode()


@cache
def _dumper() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        """Shared trees are written out each time: JSON knows no aliases."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = None
        if _ESCAPED(value):
            style = '"'
        elif "\n" in value:
            style = "|"
        elif (
            value in _WORDS
            or dumper.resolve(yaml.ScalarNode, value, (True, False)) != "tag:yaml.org,2002:str"
            or EXPONENT.fullmatch(value)
        ):
            style = '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper
