"""Classify the texts of a table's cells: numbers, numbers in another notation, booleans, blanks and words."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from typing import Literal, TypeAlias

#: What a text looks like. "whole" (12), "whole float" (12.0 or 1.2e1) and "decimal" (1.5) are numbers that float()
#: reads. An "unclear number" is written in a way that float() does not read or that has several meanings (1,234 is 1234
#: or 1.234). A "blank" is written where a value is missing or is not finite.
Look: TypeAlias = Literal["whole", "whole float", "decimal", "unclear number", "boolean", "blank", "word"]

#: What to write instead of an unclear number.
PLAIN_NUMBERS = "write numbers as 1234.5, with a decimal point and without thousands separator, unit, %, < or >"

_WHOLE = re.compile(r"[+-]?\d+")
_WHOLE_FLOAT = re.compile(r"[+-]?\d+\.0*")
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
_UNCLEAR = re.compile(
    r"[+-]?(?:"
    r"\d*,\d+(?:e[+-]?\d+)?"  # 0,077 and 1,234
    r"|\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+(?:[.,]\d+)?"  # 1,234,567.8 and 1.234.567,8 and 1 234
    r"|\d+/\d+)"  # 1/2
    rf"|[+-]?[\d.,]+\s*[%‰]|[<>≤≥~±]=?\s*{_NUMBER}"
    rf"|[$€£¥]\s*{_NUMBER}|{_NUMBER}\s*[$€£¥]|{_NUMBER}\s*(?:±|\+/-)\s*{_NUMBER}"  # $1.50 and 1.5±0.2
    r"|[+-]?\d*\.\d+\s+[a-zµμ]{1,3}(?:/[a-zµμ]{1,3})?",  # 1.5 nM, 0.2 mg/mL, not 3 UTR
    re.IGNORECASE,
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # 1,234 is 1234 or 1.234, but 0,123 and 1,23 are not thousands
_MINUS = re.compile("^[\u2212\u2013\u2014]")  # the minus sign, and dashes that word processors write instead
# For empty cells, NA and NaN see `text_tables.MISSING`.
_BLANKS = {"-", "--", "---", "?", ".", "n.d.", "nd", "n.a.", "-nan", "inf", "+inf", "-inf", "infinity", "-infinity"}


def as_number(text: str) -> float:
    """Read a number; a text that is not a number becomes NaN.

    >>> as_number("1e-3"), as_number("1_2")  # a name such as 1_2 is not a number, although Python's float() reads 12
    (0.001, nan)
    """
    try:
        return float("nan") if "_" in text else float(text)
    except ValueError:
        return float("nan")


def look_of(text: str) -> Look:
    """Return what a text without blanks around it looks like.

    >>> [look_of(text) for text in ("12", "1.0", "1.5", "0,077", "TRUE", "-", "a")]
    ['whole', 'whole float', 'decimal', 'unclear number', 'boolean', 'blank', 'word']
    """
    if _WHOLE.fullmatch(text):
        return "whole"
    if _WHOLE_FLOAT.fullmatch(text):
        return "whole float"
    if re.fullmatch(_NUMBER, text, re.IGNORECASE):
        # numpy.savetxt writes 1 as 1.000000000000000000e+00.
        return "whole float" if "e" in text.lower() and float(text).is_integer() else "decimal"
    if text.lower() in ("true", "false"):
        return "boolean"
    if text.lower() in _BLANKS or re.fullmatch(r"#[A-Z/0]+[!?]", text):  # "#DIV/0!" of a spreadsheet
        return "blank"
    if _UNCLEAR.fullmatch(_MINUS.sub("-", text)) or (_MINUS.match(text) and not math.isnan(as_number(text[1:]))):
        return "unclear number"
    return "word"


def with_decimal_points(texts: Iterable[str], blanks: Collection[str] = ()) -> dict[str, str] | None:
    """Return numbers with decimal points for numbers with decimal commas, as half of Europe writes them.

    Args:
        texts: the texts of a column, without blanks around them.
        blanks: texts in lower case that stand for no value.

    Returns:
        text with a comma -> text with a point; None if no text has a comma, if some text is neither a whole number nor
        one with a single comma, or if all commas may separate thousands.

    >>> with_decimal_points(["0,5", "12"]), with_decimal_points(["1,234", "5"]), with_decimal_points(["0,5", "0.5"])
    ({'0,5': '0.5'}, None, None)
    """
    numbers = {text for text in texts if text.lower() not in blanks}
    with_comma = {text for text in numbers if _DECIMAL_COMMA.fullmatch(text)}
    if not with_comma or not all(_WHOLE.fullmatch(text) for text in numbers - with_comma):
        return None
    if all(_THOUSANDS.fullmatch(text) for text in with_comma):
        return None
    return {text: text.replace(",", ".") for text in with_comma}


def plain_spelling(text: str) -> str:
    """Return the plain spelling of a whole number or a boolean, and any other text as it is.

    pandas writes whole numbers as 1.0 if one of them is missing, and spreadsheets write TRUE.

    >>> plain_spelling("1.0"), plain_spelling("+01"), plain_spelling("TRUE"), plain_spelling("1.5")
    ('1', '1', 'True', '1.5')
    """
    look = look_of(text)
    if look == "whole float" and "e" in text.lower():
        return str(int(float(text)))
    if look in ("whole", "whole float") and len(text) < 1000:  # Python reads no more than 4300 digits
        return str(int(text.split(".")[0]))
    return text.capitalize() if look == "boolean" else text
