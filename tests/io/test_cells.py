"""What the texts of cells look like: numbers of every kind of spelling, booleans, blanks and words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.io.cells import as_number, look_of, plain_spelling, with_decimal_points

LOOKS = {
    "whole": "0 7 -1 +3 007 12345",
    "whole float": "0.0 1. -2.00 +3.0 1e5 2E+7 1.000e+00 0e0",
    "decimal": "0.5 .5 -1.5e-3 1.5e0 1e400",
    "unclear number": "0,077 -1,5 ,5 1,234 1,234.5 1.234.567 1.234,5 1'000 12% 12.5\u2030 1/2 <5 >=0.5 ~3 \u22120.5",
    "boolean": "TRUE True false",
    "blank": "- -- ? . n.d. inf -INF #DIV/0! #VALUE! #NAME?",
    "word": "a promoter 1_2 chr1 X v1.0 1.5x yes 1,a e5 1.1.1.1 - - 12nt + a-b #1",
}


@pytest.mark.parametrize("look", LOOKS)
def test_texts_look_like_what_they_are(look):
    texts = LOOKS[look].split() if look != "word" else [*LOOKS[look].replace(" - -", "").split(), "- -"]
    assert {text: look_of(text) for text in texts} == dict.fromkeys(texts, look)


def test_thousands_may_be_separated_by_blanks():
    for text in ("1 234", "1\u00a0234\u00a0567", "1\u202f234,5", "5 %"):
        assert look_of(text) == "unclear number"


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15))
def test_what_python_writes_as_a_number_is_a_plain_number(value):
    assert look_of(str(value)) in ("whole", "whole float", "decimal") and as_number(str(value)) == value


@given(st.text(max_size=12))
def test_any_text_has_a_look_and_plain_numbers_are_finite(text):
    text = text.strip()
    if look_of(text) in ("whole", "whole float", "decimal"):
        assert math.isfinite(as_number(text)) or abs(as_number(text)) == math.inf  # 1e999
    assert plain_spelling(plain_spelling(text)) == plain_spelling(text)


@given(st.integers(-(10**9), 10**9))
def test_a_whole_number_has_one_plain_spelling(value):
    assert {plain_spelling(text) for text in (f"{value}", f"{value}.0", f"{value}.")} == {str(value)}


@pytest.mark.parametrize(
    ("texts", "points"),
    [
        (["0,5", "1,25"], ["0.5", "1.25"]),
        (["0,123", "1,234"], ["0.123", "1.234"]),
        (["1,5", "", "3"], ["1.5", "", "3"]),
        (["-2,5e-3", "1"], ["-2.5e-3", "1"]),
        (["12345,678"], ["12345.678"]),
        ([",5"], [".5"]),
        (["1,234", "12,345"], None),  # thousands?
        (["0,5", "0.5"], None),
        (["0,5", "a"], None),
        (["1,2,3"], None),
        (["1", "2"], None),
        ([], None),
    ],
)
def test_decimal_commas_are_read_where_nothing_else_can_be_meant(texts: list[str], points: list[str] | None) -> None:
    found = with_decimal_points(texts, {""})
    assert (found and [found.get(text, text) for text in texts]) == points


@given(st.lists(st.floats(0.001, 0.999).map(lambda value: f"{value:.4f}"), min_size=1))
def test_numbers_come_back_from_decimal_commas(numbers: list[str]) -> None:
    found = with_decimal_points(number.replace(".", ",") for number in numbers)
    assert sorted(found.values()) == sorted(set(numbers))
