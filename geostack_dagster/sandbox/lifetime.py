"""How long tokens live, whatever their scheme; the control endpoint changes it."""

from dataclasses import dataclass


@dataclass(slots=True)
class Lifetime:
    """Of every token that is made from now on."""

    seconds: float
