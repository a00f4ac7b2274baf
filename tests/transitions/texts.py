"""Texts that match a pattern: shortest, longest, with unusual characters, and others of the same shape.

They are made by bending a text that matches already, so they come out for any pattern without knowing it.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

ODD_CHARACTERS = "%$'\"`\\#;=:,/.-_~*?!&|<>()[]{}@+ 0Aé\u00df日٣\u00a0\u200b\u202e\U0001f680"
"""Each with a meaning somewhere: in ini files, shells, templates, YAML, URLs, or for the eye."""

LINE_ENDS = "\u0085\u2028\u2029"
"""What some readers of text take for the end of a line, and a pattern for one line often lets through."""

MAXIMUM = 2**31 - 1


_Example = TypeVar("_Example")
POOL = 12
"""How many texts are made of each pattern. Making one takes hypothesis about 20 ms, and a world has dozens."""


@cache
def strategy(pattern: str, shortest: int, longest: int) -> st.SearchStrategy[str]:
    """Return texts that match, of a length within the bounds: always the same few."""
    alphabet = st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])
    texts = st.from_regex(re.compile(pattern), fullmatch=True, alphabet=alphabet)
    return st.sampled_from(collected(texts.filter(lambda text: shortest <= len(text) <= longest), POOL, 0))


def collected(strategy: st.SearchStrategy[_Example], count: int, number: int) -> list[_Example]:
    """Return `count` examples, the same ones for the same seed `number`; hypothesis begins with the simplest."""
    found: list[_Example] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: _Example) -> None:
        found.append(example)

    collect()
    return found[:count]


def varied(strategy: st.SearchStrategy[_Example], count: int, number: int) -> list[_Example]:
    """Return `count` examples that have nothing to do with each other, the same ones for the same seed `number`."""
    return [one_of_varied(strategy, index, number) for index in range(count)]


def one_of_varied(strategy: st.SearchStrategy[_Example], index: int, number: int) -> _Example:
    """Return the example at a place among those of a seed.

    Hypothesis makes many of its examples by changing earlier ones a little; here each comes from a seed of its own.
    """
    return collected(strategy, 2, number * 1_000_000 + index)[-1]


class Shape:
    """What a text must be like. `pattern` is the common ground of RE2 and Python; None for any text."""

    def __init__(self, pattern: str | None, shortest: int = 0, longest: int = MAXIMUM) -> None:
        self._matches = re.compile(pattern).fullmatch if pattern else lambda _text: True
        self._shortest = shortest
        self._longest = longest

    def fits(self, text: str) -> bool:
        """Tell whether a text is of this shape."""
        return self._shortest <= len(text) <= self._longest and self._matches(text) is not None

    def bent(self, text: str) -> Iterator[str]:
        """Give the boundaries near a text that fits: the shortest, the longest, and those with unusual characters."""
        yield self.shortest(text)
        if self._longest < MAXIMUM:
            yield self.stretched(text, self._longest)
        yield from self.with_odd_characters(text)

    def shortest(self, text: str) -> str:
        """Return the text with every character left out that can be."""
        position = 0
        while position < len(text):
            without = text[:position] + text[position + 1 :]
            if self.fits(without):
                text = without
            else:
                position += 1
        return text

    def stretched(self, text: str, length: int) -> str:
        """Return a text of `length` characters, or as long as can be found, by repeating a character or its neighbours.

        A part with a limit of its own cannot be stretched, so the place that gives the longest text is taken.
        """
        best = text
        for piece in (1, 2, 3):
            for position in range(len(text) - piece + 1):
                best = max(best, self._repeated(text, position, piece, length), key=len)
                if len(best) == length:
                    return best
        return best

    def _repeated(self, text: str, position: int, piece: int, length: int) -> str:
        """Repeat a piece of the text as often as it fits, found by halving."""
        end = position + piece
        low, high = 0, max(0, (length - len(text)) // piece)
        while low < high:
            middle = (low + high + 1) // 2
            if self.fits(text[:end] + text[position:end] * middle + text[end:]):
                low = middle
            else:
                high = middle - 1
        return text[:end] + text[position:end] * low + text[end:]

    def with_odd_characters(self, text: str) -> Iterator[str]:
        """Give the text with all odd characters that fit in its middle and at its ends, in quotes, and in brackets."""
        for start in sorted({len(text) // 2, 0, len(text)}):
            if (bent := self.with_characters(text, start, ODD_CHARACTERS)) != text:
                yield bent
        yield from (quoted for quoted in (f'"{text}"', f"'{text}'", f"[{text}]") if self.fits(quoted))

    def with_characters(self, text: str, start: int, characters: str) -> str:
        """Return the text with those of `characters` put in at `start` that fit there."""
        for character in characters:
            candidate = text[:start] + character + text[start:]
            if self.fits(candidate):
                text = candidate
        return text

    def others(self, text: str, count: int) -> list[str]:
        """Return up to `count` texts like this one, each different: with a number put in where one fits."""
        found: list[str] = []
        for number in range(count * 3):
            candidates = (text[:at] + str(number) + text[at:] for at in (len(text) // 2, 1, len(text)))
            candidate = next((text for text in candidates if self.fits(text) and text not in found), None)
            found += [candidate] if candidate is not None else []
        return found[:count]
