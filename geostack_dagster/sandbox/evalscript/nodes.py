"""The tree of a script: expressions have a value in a scope, statements are run in one."""

from dataclasses import dataclass
from typing import Protocol, override

import numpy as np

from geostack_dagster.sandbox.evalscript.library import member, set_member
from geostack_dagster.sandbox.evalscript.tokens import ScriptError
from geostack_dagster.sandbox.evalscript.values import (
    BINARY,
    Scope,
    Value,
    called,
    negated,
    numeric,
    truth,
)


class Expression(Protocol):
    """Has a value."""

    def value(self, scope: Scope) -> Value:
        """Its value in a scope."""
        ...


class Statement(Protocol):
    """Does something."""

    def run(self, scope: Scope) -> None:
        """Do it in a scope."""
        ...


class Target(Expression, Protocol):
    """Can be assigned to."""

    def store(self, scope: Scope, value: Value) -> None:
        """Assign to it."""
        ...


class ReturnSignal(Exception):  # noqa: N818 (not an error)
    """Ends a function."""

    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value


class BreakSignal(Exception):  # noqa: N818 (not an error)
    """Ends a loop."""


class ContinueSignal(Exception):  # noqa: N818 (not an error)
    """Ends one turn of a loop."""


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """A number, string, boolean, null."""

    held: Value

    @override
    def value(self, scope: Scope) -> Value:
        return self.held


@dataclass(frozen=True, slots=True)
class Name(Target):
    """A variable."""

    name: str

    @override
    def value(self, scope: Scope) -> Value:
        return scope.holder(self.name).names[self.name]

    @override
    def store(self, scope: Scope, value: Value) -> None:
        scope.assign(self.name, value)


@dataclass(frozen=True, slots=True)
class Member(Target):
    """`holder.name` or `holder[name]`."""

    holder: Expression
    name: Expression

    @override
    def value(self, scope: Scope) -> Value:
        return member(self.holder.value(scope), self.name.value(scope))

    @override
    def store(self, scope: Scope, value: Value) -> None:
        set_member(self.holder.value(scope), self.name.value(scope), value)


@dataclass(frozen=True, slots=True)
class ListOf(Expression):
    """`[a, ...b]`."""

    items: tuple[tuple[bool, Expression], ...]
    """Whether it is spread, and what."""

    @override
    def value(self, scope: Scope) -> Value:
        found: list[Value] = []
        for is_spread, item in self.items:
            held = item.value(scope)
            found.extend(held if is_spread else [held])
        return found


@dataclass(frozen=True, slots=True)
class ObjectOf(Expression):
    """`{a: 1}`."""

    items: tuple[tuple[str, Expression], ...]

    @override
    def value(self, scope: Scope) -> Value:
        return {name: item.value(scope) for name, item in self.items}


@dataclass(frozen=True, slots=True)
class Function(Expression):
    """A function with the statements of its body."""

    parameters: tuple[str, ...]
    body: "Block"

    @override
    def value(self, scope: Scope) -> Value:
        def function(*arguments: Value) -> Value:
            own = Scope(scope)
            given = [*arguments, *[None] * len(self.parameters)]
            own.names.update(zip(self.parameters, given, strict=False))
            try:
                self.body.run(own)
            except ReturnSignal as signal:
                return signal.value
            return None

        return function


@dataclass(frozen=True, slots=True)
class Call(Expression):
    """`function(arguments)`."""

    function: Expression
    arguments: ListOf

    @override
    def value(self, scope: Scope) -> Value:
        scope.budget.spend()
        try:
            return called(self.function.value(scope), self.arguments.value(scope))
        except (TypeError, ValueError, AttributeError) as error:
            raise ScriptError(f"TypeError: {error}") from error


@dataclass(frozen=True, slots=True)
class Unary(Expression):
    """`-a`, `+a`, `!a`, `typeof a`."""

    sign: str
    operand: Expression

    @override
    def value(self, scope: Scope) -> Value:
        held = self.operand.value(scope)
        if self.sign == "!":
            return negated(held)
        if self.sign == "typeof":
            return _kind(held)
        return -numeric(held) if self.sign == "-" else numeric(held)


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    """`a + b` and so on."""

    sign: str
    left: Expression
    right: Expression

    @override
    def value(self, scope: Scope) -> Value:
        left, right = self.left.value(scope), self.right.value(scope)
        found = BINARY[self.sign](left, right)
        return bool(found) if isinstance(found, np.bool_) else found


@dataclass(frozen=True, slots=True)
class Logical(Expression):
    """`a && b`, `a || b`, `a ?? b`: the right side only where it matters."""

    sign: str
    left: Expression
    right: Expression

    @override
    def value(self, scope: Scope) -> Value:
        left = self.left.value(scope)
        settled = left is not None if self.sign == "??" else truth(left) == (self.sign == "||")
        return left if settled else self.right.value(scope)


@dataclass(frozen=True, slots=True)
class Conditional(Expression):
    """`a ? b : c`."""

    condition: Expression
    yes: Expression
    no: Expression

    @override
    def value(self, scope: Scope) -> Value:
        return (self.yes if truth(self.condition.value(scope)) else self.no).value(scope)


@dataclass(frozen=True, slots=True)
class Assignment(Expression):
    """`a = b`, `a += b`."""

    sign: str
    target: Target
    right: Expression

    @override
    def value(self, scope: Scope) -> Value:
        held = self.right.value(scope)
        if self.sign != "=":
            held = BINARY[self.sign[0]](self.target.value(scope), held)
        self.target.store(scope, held)
        return held


@dataclass(frozen=True, slots=True)
class Step(Expression):
    """`++a`, `a--`."""

    by: float
    target: Target
    is_prefix: bool

    @override
    def value(self, scope: Scope) -> Value:
        before = numeric(self.target.value(scope))
        self.target.store(scope, before + self.by)
        return before + self.by if self.is_prefix else before


@dataclass(frozen=True, slots=True)
class Declaration(Statement):
    """`var a = 1, b`."""

    names: tuple[tuple[str, Expression], ...]

    @override
    def run(self, scope: Scope) -> None:
        for name, start in self.names:
            scope.names[name] = start.value(scope)


@dataclass(frozen=True, slots=True)
class Evaluation(Statement):
    """An expression for what it does."""

    expression: Expression

    @override
    def run(self, scope: Scope) -> None:
        self.expression.value(scope)


@dataclass(frozen=True, slots=True)
class Block(Statement):
    """Statements; functions are known before the first of them runs."""

    statements: tuple[Statement, ...]

    @override
    def run(self, scope: Scope) -> None:
        for statement in self.statements:
            if isinstance(statement, Declaration) and all(
                isinstance(start, Function) for _, start in statement.names
            ):
                statement.run(scope)
        for statement in self.statements:
            scope.budget.spend()
            statement.run(scope)


@dataclass(frozen=True, slots=True)
class Choice(Statement):
    """`if`."""

    condition: Expression
    yes: Statement
    no: Statement

    @override
    def run(self, scope: Scope) -> None:
        (self.yes if truth(self.condition.value(scope)) else self.no).run(scope)


@dataclass(frozen=True, slots=True)
class Loop(Statement):
    """`for (start; condition; step)` and `while`."""

    start: Statement
    condition: Expression
    step: Statement
    body: Statement

    @override
    def run(self, scope: Scope) -> None:
        self.start.run(scope)
        while truth(self.condition.value(scope)):
            scope.budget.spend()
            try:
                self.body.run(scope)
            except BreakSignal:
                return
            except ContinueSignal:
                pass
            self.step.run(scope)


@dataclass(frozen=True, slots=True)
class EachLoop(Statement):
    """`for (name of items)`."""

    name: str
    items: Expression
    body: Statement

    @override
    def run(self, scope: Scope) -> None:
        for item in list(self.items.value(scope)):
            scope.budget.spend()
            scope.names[self.name] = item
            try:
                self.body.run(scope)
            except BreakSignal:
                return
            except ContinueSignal:
                pass


@dataclass(frozen=True, slots=True)
class Return(Statement):
    """`return a`."""

    expression: Expression

    @override
    def run(self, scope: Scope) -> None:
        raise ReturnSignal(self.expression.value(scope))


@dataclass(frozen=True, slots=True)
class Throw(Statement):
    """`throw a`."""

    expression: Expression

    @override
    def run(self, scope: Scope) -> None:
        raise ScriptError(str(self.expression.value(scope)))


@dataclass(frozen=True, slots=True)
class Jump(Statement):
    """`break` and `continue`."""

    signal: type[BreakSignal] | type[ContinueSignal]

    @override
    def run(self, scope: Scope) -> None:
        raise self.signal


NOTHING = Block(())
UNDEFINED = Literal(None)


def _kind(value: Value) -> str:
    kinds = {str: "string", bool: "boolean", float: "number", np.ndarray: "number"}
    if callable(value):
        return "function"
    return "undefined" if value is None else kinds.get(type(value), "object")
