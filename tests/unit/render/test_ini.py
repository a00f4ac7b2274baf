"""Values reach the real oslo.config exactly as they were given, whatever they hold."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oslo_config import cfg

from imageservice.render import ini

SINGLE_LINE = st.text(st.characters(exclude_categories=("Cc", "Cs"), include_characters="\t"))
"""Any text without a line end or another control character."""


def read_with_oslo_config(text: str, option: cfg.Opt, group: str = "stores") -> object:
    """Return the value that the real parser finds for `option` in the file `text`."""
    conf = cfg.ConfigOpts()
    conf.register_opt(option, group=group)
    conf.register_opt(cfg.StrOpt("secret", default="leaked"))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "test.conf")
        path.write_text(text, encoding="utf-8")
        conf(args=[], default_config_files=[str(path)], default_config_dirs=[])
        return conf[group][option.dest]


@given(SINGLE_LINE)
@example("$secret ${secret} $$ \\$ \\\\$$ $")
@example("100% %(here)s %s")
@example("'")
@example('"quoted"')
@example("  blanks kept\t")
@example("[DEFAULT]")
@example("# no comment ; none either")
@example("a = b : c")
@example("\u00a0no-break spaces at the ends\u00a0")
def test_any_single_line_of_text_is_read_back_exactly(value: str) -> None:
    text = ini.render({"stores": {"store_description": value}})
    assert read_with_oslo_config(text, cfg.StrOpt("store_description")) == value


@given(
    before=SINGLE_LINE,
    after=SINGLE_LINE,
    line_end=st.sampled_from(["\n", "\r", "\r\n", "\x0b", "\x85", "\0"]),
)
def test_text_of_more_than_one_line_is_refused_without_repeating_it(before: str, after: str, line_end: str) -> None:
    with pytest.raises(ValueError, match=r"\[database\] connection contains the character U\+[0-9A-F]{4}") as refusal:
        ini.render({"database": {"connection": f"{before}{line_end}{after}"}})
    assert refusal.value.__cause__ is None


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"U\+DC80"):
        ini.value_text("\udc80")


LIST_ITEM = SINGLE_LINE.filter(lambda item: item and item == item.strip() and "," not in item)


@given(st.lists(LIST_ITEM, min_size=1), st.booleans())
@example(["inet6:[::1]:11211"], False)
def test_a_list_is_read_back_item_by_item(items: list[str], bounds: bool) -> None:
    option = cfg.ListOpt("servers", bounds=bounds)
    text = ini.render({"stores": {"servers": ini.list_value(items, bounds=bounds)}})
    assert read_with_oslo_config(text, option) == items


@pytest.mark.parametrize("item", ["", "a,b", " a", "a "])
def test_an_item_that_a_list_cannot_hold_is_refused(item: str) -> None:
    with pytest.raises(ValueError, match="item of a list"):
        ini.list_value(["fine", item])


def test_a_dict_keeps_its_order_and_gets_no_quotes() -> None:
    text = ini.render({"stores": {"enabled_backends": ini.dict_value({"zone-b": "file", "a_1": "file"})}})
    assert text == "[stores]\nenabled_backends = zone-b:file,a_1:file\n"
    read = read_with_oslo_config(text, cfg.DictOpt("enabled_backends"))
    assert isinstance(read, dict)
    assert list(read.items()) == [("zone-b", "file"), ("a_1", "file")]


DICT_KEY = LIST_ITEM.filter(lambda key: ":" not in key)
DICT_VALUE = SINGLE_LINE.filter(lambda value: value == value.strip() and "," not in value)


@given(st.dictionaries(DICT_KEY, DICT_VALUE, min_size=1))
@example({"a": ":", "b": "'", "'c": "'"})
def test_a_dict_is_read_back_pair_by_pair(pairs: dict[str, str]) -> None:
    text = ini.render({"stores": {"pairs": ini.dict_value(pairs)}})
    assert read_with_oslo_config(text, cfg.DictOpt("pairs")) == pairs


@pytest.mark.parametrize("pair", [("a:b", "c"), ("", "c"), ("a ", "c"), ("a", " c"), ("a", "c "), ("a", "b,c")])
def test_a_pair_that_a_dict_cannot_hold_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"of a (dict option|list) must"):
        ini.dict_value(dict([pair]))


def test_sections_and_options_keep_their_order_and_empty_sections_vanish() -> None:
    text = ini.render({"b": {"z": "1", "a": ""}, "empty": {}, "a": {"x": "2"}})
    assert text == "[b]\nz = 1\na =\n\n[a]\nx = 2\n"
