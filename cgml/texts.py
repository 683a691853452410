"""Names and values as an error text can show them: no more than a line takes."""

from collections.abc import Iterable


def short(value: object, most: int = 60) -> str:
    """Write a value, and of a long one the beginning.

    Example:
        >>> short(5.0), short("abc"), short([1] * 9, 9)
        ('5', "'abc'", '[1, 1, 1,...')
    """
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def listed(names: Iterable[str], most: int = 12) -> str:
    """Name some things, each once, and say how many more there are.

    Example:
        >>> listed("abab"), listed("abc", 2), listed([])
        ('a, b', 'a, b and 1 more', 'none')
    """
    once = list(dict.fromkeys(names))
    rest = len(once) - most
    more = f" and {rest} more" if rest > 0 else ""
    return (", ".join(once[:most]) or "none") + more


def counted(n: int, word: str) -> str:
    """Write a number of things, a number with a name.

    Example:
        >>> counted(1, "system"), counted(2, "system")
        ('1 system', '2 systems')
    """
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def time_span(seconds: float) -> str:
    """Say a time in the unit that fits.

    Example:
        >>> time_span(90.0), time_span(1230.0), time_span(9000.0)
        ('90 s', '20.5 min', '2.5 h')
    """
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"
