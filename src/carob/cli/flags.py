"""The flags of a verb, read as kubectl's library reads them, with its words for mistakes.

`-o json`, `-ojson`, `-o=json`, `--output json`, `--output=json`, `-it`, `--watch=false`; flags and words may be mixed;
behind `--` everything is a word. A flag may be written with `_` for `-`.

Pure, and small on purpose: the standard library's argparse costs 10 ms on every command and speaks other words.
Source: github.com/spf13/pflag.
"""

from __future__ import annotations

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

TRUE = ("1", "t", "T", "true", "TRUE", "True")
FALSE = ("0", "f", "F", "false", "FALSE", "False")


class Arguments:
    """What a command line said: a value for each flag (dashes are underscores), and the words."""

    words: list[str]
    dash: int
    """How many words stood in front of `--`; -1 when there was none."""
    changed: set[str]
    """The flags that were given."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


class HelpWanted(Exception):
    """`--help` was among the flags."""


class Flag:
    """One flag. `bare` is its value when it stands alone; None: a value must follow."""

    __slots__ = ("bare", "default", "help", "kind", "meta", "name", "section", "short")

    def __init__(
        self, name: str, short: str, kind: str, default: Any, meta: str, text: str, bare: str | None, section: str
    ) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.default = default
        self.meta = meta
        self.help = text
        self.bare = bare
        self.section = section

    @property
    def shown(self) -> str:
        """As messages name it: `-o, --output`."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"

    def parse(self, text: str) -> Any:
        """Raises: ValueError in Go's words."""
        if self.kind == "switch":
            if text in TRUE:
                return True
            if text in FALSE:
                return False
            raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
        if self.kind == "number":
            return _number(text)
        if self.kind == "duration":
            from carob.api.durations import parse_duration

            return parse_duration(text)
        return text.split(",") if self.kind == "csv" else text


def _number(text: str) -> int:
    body = text[1:] if text[:1] in ("+", "-") else text
    if not (body.isascii() and body.isdigit()):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


class Flags:
    """The flags that a verb knows."""

    def __init__(self, command: str) -> None:
        self.command = command
        """`carob get`, as messages and help say it."""
        self.usage = "[flags]"
        self.section = ""
        """The heading under which help shows the flags that follow."""
        self.all: dict[str, Flag] = {}
        self._shorts: dict[str, Flag] = {}

    # --- saying which there are

    def _add(
        self, kind: str, name: str, short: str, default: Any, meta: str, text: str, bare: str | None = None
    ) -> None:
        flag = Flag(name, short, kind, default, meta, text, bare, self.section)
        self.all[name] = flag
        if short:
            self._shorts[short] = flag

    def text(
        self, name: str, short: str = "", default: str = "", meta: str = "TEXT", help: str = "", bare: str | None = None
    ) -> None:
        """A flag with a text. A flag without `help` is not shown."""
        self._add("text", name, short, default, meta, help, bare)

    def texts(self, name: str, short: str = "", meta: str = "TEXT", help: str = "") -> None:
        """A flag that may be repeated; its value is a list."""
        self._add("texts", name, short, [], meta, help)

    def csv(self, name: str, short: str = "", meta: str = "TEXT,...", help: str = "") -> None:
        """As `texts`, but commas separate values as well."""
        self._add("csv", name, short, [], meta, help)

    def switch(self, name: str, short: str = "", default: bool = False, help: str = "") -> None:
        """A flag that is on or off."""
        self._add("switch", name, short, default, "", help, "true")

    def number(self, name: str, short: str = "", default: int = 0, meta: str = "N", help: str = "") -> None:
        """A flag with a whole number."""
        self._add("number", name, short, default, meta, help)

    def duration(self, name: str, short: str = "", default: float = 0.0, meta: str = "T", help: str = "") -> None:
        """A flag with a duration such as `1m30s`; its value is in seconds."""
        self._add("duration", name, short, default, meta, help)

    # --- reading

    def first_word(self, given: Sequence[str]) -> int:
        """Where the first argument stands that is neither a flag nor a flag's value. Raises: CommandError."""
        position, nowhere = 0, Arguments()
        nowhere.changed = set()
        for flag in self.all.values():
            nowhere.__dict__[flag.name.replace("-", "_")] = []
        while position < len(given) and given[position].startswith("-"):
            read = self._long if given[position].startswith("--") else self._short
            position += 1 + read(given[position], given[position + 1 : position + 2], nowhere)
        return position

    def parse(self, given: Sequence[str]) -> Arguments:
        """Raises: CommandError in kubectl's words; HelpWanted."""
        out = Arguments()
        values = out.__dict__
        for flag in self.all.values():
            default = flag.default
            values[flag.name.replace("-", "_")] = [] if isinstance(default, list) else default
        out.words, out.dash, out.changed = [], -1, set()
        position = 0
        while position < len(given):
            argument = given[position]
            position += 1
            if argument == "--":
                out.dash = len(out.words)
                out.words += given[position:]
                break
            if argument.startswith("--"):
                position += self._long(argument, given[position : position + 1], out)
            elif argument.startswith("-") and argument != "-":
                position += self._short(argument, given[position : position + 1], out)
            else:
                out.words.append(argument)
        return out

    def _long(self, argument: str, following: Sequence[str], out: Arguments) -> int:
        """1 if the next argument was used."""
        name, equals, value = argument[2:].partition("=")
        flag = self.all.get(name.replace("_", "-"))
        if flag is None:
            if name == "help":
                raise HelpWanted
            if not name or name.startswith("-"):
                raise self.mistake(f"bad flag syntax: {argument}")
            raise self.mistake(f"unknown flag: --{name}")
        if equals:
            self._set(flag, value, out)
            return 0
        if flag.bare is not None:
            self._set(flag, flag.bare, out)
            return 0
        if not following:
            raise self.mistake(f"flag needs an argument: --{name}")
        self._set(flag, following[0], out)
        return 1

    def _short(self, argument: str, following: Sequence[str], out: Arguments) -> int:
        letters = argument[1:]
        while letters:
            letter, rest = letters[0], letters[1:]
            flag = self._shorts.get(letter)
            if flag is None:
                if letter == "h":
                    raise HelpWanted
                raise self.mistake(f"unknown shorthand flag: '{letter}' in -{letters}")
            if len(rest) > 1 and rest[0] == "=":
                self._set(flag, rest[1:], out)
                return 0
            if flag.bare is not None:
                self._set(flag, flag.bare, out)
                letters = rest
                continue
            if rest:
                self._set(flag, rest, out)
                return 0
            if not following:
                raise self.mistake(f"flag needs an argument: '{letter}' in -{letters}")
            self._set(flag, following[0], out)
            return 1
        return 0

    def _set(self, flag: Flag, text: str, out: Arguments) -> None:
        try:
            value = flag.parse(text)
        except ValueError as error:
            raise self.mistake(f'invalid argument "{text}" for "{flag.shown}" flag: {error}') from error
        key = flag.name.replace("-", "_")
        if flag.kind == "texts":
            out.__dict__[key].append(value)
        elif flag.kind == "csv":
            out.__dict__[key].extend(value)
        else:
            out.__dict__[key] = value
        out.changed.add(flag.name)

    def mistake(self, text: str) -> CommandError:
        """What kubectl says of a flag that it cannot use."""
        return CommandError(f"error: {text}\nSee '{self.command} --help' for usage.")
