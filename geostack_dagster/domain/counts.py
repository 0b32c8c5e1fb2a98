"""Numbers of things, in words."""


def counted(number: int, noun: str) -> str:
    """`1 item`, `2 items`, `0 items`; for nouns whose plural is regular."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
