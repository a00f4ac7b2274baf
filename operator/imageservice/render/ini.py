r"""Text of ini files in which every value means exactly itself to oslo.config.

How oslo.config reads a file (oslo_config.iniparser and ConfigOpts._substitute): a value loses the blanks around it and
then one pair of equal quotes, and after that `$name` and `${name}` are replaced by other options, where `$$` and `\$`
stand for a dollar sign. `%` means nothing. There is no escape for the end of a line.
"""

import unicodedata
from collections.abc import Iterable, Mapping

Sections = Mapping[str, Mapping[str, str]]
"""Section name -> option name -> value as Glance shall see it."""

_QUOTES = ("'", '"')


def value_text(value: str) -> str:
    """Return what to write behind `option = ` so that oslo.config reads `value`.

    Raises ValueError, without the value in its message, for text that no line of a file can hold: line ends, other
    control characters except the tabulator, and lone surrogates.
    """
    for character in value:
        if character == "\t":
            continue
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise ValueError(f"contains the character U+{ord(character):04X}; only a single line of text is allowed")
    text = escaped(value)
    if text != text.strip() or (text.startswith(_QUOTES) and text[0] == text[-1]):
        return f'"{text}"'
    return text


def escaped(text: str) -> str:
    r"""Return `text`, a value or a part of one, as it stands in a file.

    The dollar becomes `\$` and not `$$`: behind a backslash of the text itself, that would be read as an escaped
    dollar and a bare one.
    """
    return text.replace("$", r"\$")


def unescaped(text: str) -> str:
    """Return what `escaped` was given."""
    return text.replace(r"\$", "$")


def list_value(items: Iterable[str], *, bounds: bool = False) -> str:
    """Return the value of a list option; `bounds` for the options that want their list in brackets.

    oslo.config cuts a list at its commas and strips each item: ValueError for items that would not come out whole.
    """
    parts = list(items)
    for item in parts:
        if "," in item or item != item.strip() or not item:
            raise ValueError("an item of a list must not be empty, contain a comma or begin or end in a blank")
    text = ",".join(parts)
    return f"[{text}]" if bounds else text


def dict_value(pairs: Mapping[str, str]) -> str:
    """Return the value of a dict option, in the order of `pairs`; never with quotes, which Glance takes as text.

    oslo.config cuts a pair at its first colon and strips both parts: ValueError where they would not come out whole.
    """
    for key, value in pairs.items():
        if ":" in key or not key:
            raise ValueError("a key of a dict option must not be empty or contain a colon")
        if key != key.strip() or value != value.strip():
            raise ValueError("neither a key nor a value of a dict option must begin or end in a blank")
    return list_value(f"{key}:{value}" for key, value in pairs.items())


def render(sections: Sections) -> str:
    """Return the text of an ini file with the sections and options in the order given; empty sections are left out.

    Section and option names are trusted: they are our own, or were found in the list of options of the release.
    Raises ValueError, naming section and option, for a value that cannot be written.
    """
    blocks = []
    for section, options in sections.items():
        lines = [f"[{section}]"]
        for option, value in options.items():
            try:
                lines.append(f"{option} = {value_text(value)}".rstrip(" "))
            except ValueError as problem:
                raise ValueError(f"[{section}] {option} {problem}") from None
        if options:
            blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)
