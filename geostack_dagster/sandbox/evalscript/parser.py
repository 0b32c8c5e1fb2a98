"""From the words of a script to its tree."""

from collections.abc import Callable

from geostack_dagster.sandbox.evalscript import nodes
from geostack_dagster.sandbox.evalscript.nodes import (
    NOTHING,
    UNDEFINED,
    Block,
    Expression,
    Statement,
)
from geostack_dagster.sandbox.evalscript.tokens import ScriptError, Token, tokens, unquoted

_STRENGTH = {
    "??": 1,
    "||": 2,
    "&&": 3,
    **dict.fromkeys(("==", "!=", "===", "!=="), 4),
    **dict.fromkeys(("<", ">", "<=", ">="), 5),
    **dict.fromkeys(("+", "-"), 6),
    **dict.fromkeys(("*", "/", "%"), 7),
    "**": 8,
}
_LOGICAL = {"??", "||", "&&"}
_ASSIGNMENTS = {"=", "+=", "-=", "*=", "/="}
_PREFIXES = {"!", "-", "+", "typeof"}
_WORDS = {"true": True, "false": False, "null": None}


def parse(source: str) -> Block:
    """The tree of a script.

    Raises:
        ScriptError: If it is not JavaScript, or beyond the subset.
    """
    return _Parser(source).script()


class _Parser:
    def __init__(self, source: str) -> None:
        self._tokens = list(tokens(source))
        self._at = 0
        self._statements: dict[str, Callable[[], Statement]] = {
            "{": self._block,
            ";": self._empty,
            "var": self._declaration,
            "let": self._declaration,
            "const": self._declaration,
            "function": self._function_declaration,
            "if": self._choice,
            "for": self._for,
            "while": self._while,
            "return": self._return,
            "throw": self._throw,
            "break": lambda: self._jump(nodes.BreakSignal),
            "continue": lambda: self._jump(nodes.ContinueSignal),
        }
        self._beginnings: dict[str, Callable[[], Expression]] = {
            "(": self._group,
            "[": self._list,
            "{": self._object,
            "function": self._function,
            "++": lambda: self._stepped("++"),
            "--": lambda: self._stepped("--"),
            **{sign: lambda sign=sign: self._prefixed(sign) for sign in _PREFIXES},  # type: ignore[misc]
        }

    def script(self) -> Block:
        statements = []
        while self._now.kind != "end":
            statements.append(self._statement())
        return Block(tuple(statements))

    # Words

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _sees(self, *texts: str) -> bool:
        return self._now.kind in ("sign", "name") and self._now.text in texts

    def _next(self) -> Token:
        token = self._now
        self._at += 1
        return token

    def _took(self, text: str) -> bool:
        found = self._sees(text)
        self._at += found
        return found

    def _expect(self, text: str) -> None:
        if not self._took(text):
            raise self._unexpected()

    def _name(self) -> str:
        if self._now.kind != "name":
            raise self._unexpected()
        return self._next().text

    def _unexpected(self) -> ScriptError:
        shown = self._now.text or "end of script"
        return ScriptError(f"SyntaxError: unexpected {shown!r} in line {self._now.line}")

    def _end_statement(self) -> None:
        ended = self._took(";") or self._sees("}") or self._now.after_newline
        if not ended and self._now.kind != "end":
            raise self._unexpected()

    # Statements

    def _statement(self) -> Statement:
        make = self._statements.get(self._now.text) if self._now.kind != "string" else None
        if make is not None:
            return make()
        found = nodes.Evaluation(self._expression())
        self._end_statement()
        return found

    def _block(self) -> Block:
        self._expect("{")
        statements = []
        while not self._took("}"):
            statements.append(self._statement())
        return Block(tuple(statements))

    def _empty(self) -> Statement:
        self._expect(";")
        return NOTHING

    def _declaration(self) -> Statement:
        found = self._declared()
        self._end_statement()
        return found

    def _declared(self) -> nodes.Declaration:
        self._next()
        names = []
        while True:
            name = self._name()
            names.append((name, self._assigned() if self._took("=") else UNDEFINED))
            if not self._took(","):
                return nodes.Declaration(tuple(names))

    def _function_declaration(self) -> Statement:
        self._expect("function")
        return nodes.Declaration(((self._name(), self._function_rest()),))

    def _choice(self) -> Statement:
        self._expect("if")
        condition, yes = self._condition(), self._statement()
        return nodes.Choice(condition, yes, self._statement() if self._took("else") else NOTHING)

    def _condition(self) -> Expression:
        self._expect("(")
        found = self._expression()
        self._expect(")")
        return found

    def _while(self) -> Statement:
        self._expect("while")
        return nodes.Loop(NOTHING, self._condition(), NOTHING, self._statement())

    def _for(self) -> Statement:
        self._expect("for")
        self._expect("(")
        begin = self._at
        if self._sees("var", "let", "const"):
            self._next()
        if self._now.kind == "name":
            name = self._name()
            if self._took("of"):
                items = self._expression()
                self._expect(")")
                return nodes.EachLoop(name, items, self._statement())
        self._at = begin
        start = self._for_start()
        self._expect(";")
        condition = nodes.Literal(held=True) if self._sees(";") else self._expression()
        self._expect(";")
        step = NOTHING if self._sees(")") else nodes.Evaluation(self._expression())
        self._expect(")")
        return nodes.Loop(start, condition, step, self._statement())

    def _for_start(self) -> Statement:
        if self._sees(";"):
            return NOTHING
        if self._sees("var", "let", "const"):
            return self._declared()
        return nodes.Evaluation(self._expression())

    def _return(self) -> Statement:
        self._expect("return")
        is_bare = self._sees(";", "}") or self._now.after_newline
        found = nodes.Return(UNDEFINED if is_bare else self._expression())
        self._end_statement()
        return found

    def _throw(self) -> Statement:
        self._expect("throw")
        found = nodes.Throw(self._expression())
        self._end_statement()
        return found

    def _jump(self, signal: type[nodes.BreakSignal] | type[nodes.ContinueSignal]) -> Statement:
        self._next()
        self._end_statement()
        return nodes.Jump(signal)

    # Expressions

    def _expression(self) -> Expression:
        found = self._assigned()
        while self._took(","):
            found = self._assigned()
        return found

    def _assigned(self) -> Expression:
        arrow = self._arrow()
        if arrow is not None:
            return arrow
        left = self._conditional()
        if not self._sees(*_ASSIGNMENTS):
            return left
        return nodes.Assignment(self._next().text, self._target(left), self._assigned())

    def _target(self, found: Expression) -> nodes.Target:
        if not isinstance(found, nodes.Name | nodes.Member):
            raise ScriptError("SyntaxError: invalid assignment target")
        return found

    def _arrow(self) -> nodes.Function | None:
        """An arrow function, if one begins here."""
        begin = self._at
        names: list[str] = []
        if self._now.kind == "name":
            names.append(self._name())
        elif self._took("("):
            while self._now.kind == "name":
                names.append(self._name())
                self._took(",")
            if not self._took(")"):
                self._at = begin
                return None
        if self._at == begin or not self._took("=>"):
            self._at = begin
            return None
        body = self._block() if self._sees("{") else Block((nodes.Return(self._assigned()),))
        return nodes.Function(tuple(names), body)

    def _conditional(self) -> Expression:
        found = self._binary(0)
        if not self._took("?"):
            return found
        yes = self._assigned()
        self._expect(":")
        return nodes.Conditional(found, yes, self._assigned())

    def _binary(self, least: int) -> Expression:
        left = self._unary()
        while self._now.kind == "sign" and _STRENGTH.get(self._now.text, 0) > least:
            sign = self._next().text
            strength = _STRENGTH[sign]
            right = self._binary(strength - 1 if sign == "**" else strength)
            make = nodes.Logical if sign in _LOGICAL else nodes.Binary
            left = make(sign, left, right)
        return left

    def _unary(self) -> Expression:
        found = self._followed(self._beginning())
        if self._sees("++", "--") and not self._now.after_newline:
            by = 1.0 if self._next().text == "++" else -1.0
            return nodes.Step(by, self._target(found), is_prefix=False)
        return found

    def _prefixed(self, sign: str) -> Expression:
        self._next()
        return nodes.Unary(sign, self._unary())

    def _stepped(self, sign: str) -> Expression:
        self._next()
        return nodes.Step(1.0 if sign == "++" else -1.0, self._target(self._unary()), True)  # noqa: FBT003

    def _beginning(self) -> Expression:
        token = self._now
        if token.kind == "number":
            text = self._next().text
            return nodes.Literal(float(int(text, 16) if text.startswith("0x") else text))
        if token.kind == "string":
            return nodes.Literal(unquoted(self._next().text))
        if token.text in self._beginnings:
            return self._beginnings[token.text]()
        name = self._name()
        return nodes.Literal(_WORDS[name]) if name in _WORDS else nodes.Name(name)

    def _followed(self, found: Expression) -> Expression:
        while True:
            if self._took("."):
                found = nodes.Member(found, nodes.Literal(self._name()))
            elif self._took("["):
                found = nodes.Member(found, self._expression())
                self._expect("]")
            elif self._took("("):
                found = nodes.Call(found, nodes.ListOf(self._items(")")))
            else:
                return found

    def _group(self) -> Expression:
        self._expect("(")
        found = self._expression()
        self._expect(")")
        return found

    def _list(self) -> Expression:
        self._expect("[")
        return nodes.ListOf(self._items("]"))

    def _items(self, end: str) -> tuple[tuple[bool, Expression], ...]:
        items = []
        while not self._took(end):
            is_spread = self._spread()
            items.append((is_spread, self._assigned()))
            if not self._sees(end):
                self._expect(",")
        return tuple(items)

    def _spread(self) -> bool:
        if not self._sees("."):
            return False
        for _ in range(3):
            self._expect(".")
        return True

    def _object(self) -> Expression:
        self._expect("{")
        items = []
        while not self._took("}"):
            token = self._next()
            if token.kind not in ("name", "string", "number"):
                raise self._unexpected()
            name = unquoted(token.text) if token.kind == "string" else token.text
            items.append((name, self._assigned() if self._took(":") else nodes.Name(name)))
            if not self._sees("}"):
                self._expect(",")
        return nodes.ObjectOf(tuple(items))

    def _function(self) -> Expression:
        self._expect("function")
        if self._now.kind == "name":
            self._next()
        return self._function_rest()

    def _function_rest(self) -> nodes.Function:
        self._expect("(")
        parameters = []
        while not self._took(")"):
            parameters.append(self._name())
            if not self._sees(")"):
                self._expect(",")
        return nodes.Function(tuple(parameters), self._block())
