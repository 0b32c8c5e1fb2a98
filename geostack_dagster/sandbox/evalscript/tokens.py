"""Words of an evalscript."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_WORD = re.compile(
    r"""
      (?P<space>\s+ | //[^\n]* | /\*.*?\*/)
    | (?P<number>0x[0-9a-fA-F]+ | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<string>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | `(?:[^`\\$]|\\.)*`)
    | (?P<name>[A-Za-z_$][\w$]*)
    | (?P<sign>=>|===|!==|\*\*|\+\+|--|&&|\|\||\?\?|==|!=|<=|>=|\+=|-=|\*=|/=
        |[-+*/%<>=!?:;,.(){}\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


class ScriptError(Exception):
    """The script cannot be understood, or fails; the message goes to the client."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word."""

    kind: str
    """`number`, `string`, `name`, `sign`, or `end`."""
    text: str
    line: int
    after_newline: bool
    """Whether a line ends before it, which may end a statement."""


def tokens(source: str) -> Iterator[Token]:
    """Words of a script, then one of kind `end`.

    Raises:
        ScriptError: At a character that begins no word.
    """
    at, line, after_newline = 0, 1, False
    while at < len(source):
        found = _WORD.match(source, at)
        if found is None:
            raise ScriptError(f"SyntaxError: unexpected {source[at]!r} in line {line}")
        text, kind = found.group(), str(found.lastgroup)
        if kind == "space":
            after_newline |= "\n" in text
        else:
            yield Token(kind, text, line, after_newline)
            after_newline = False
        line += text.count("\n")
        at = found.end()
    yield Token("end", "", line, after_newline=True)


def unquoted(text: str) -> str:
    """Value of a string literal."""
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1])
