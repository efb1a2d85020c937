"""Write the card of a model folder, and check a card before it is published."""

from __future__ import annotations

import itertools
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import yaml

from ..errors import InputError
from ..io.writing import write_text
from .model_card import NO_NOTES, NOTES, Records, read_records, render_card, score_section

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

logger = logging.getLogger(__name__)

# A heading of every card that `write_card` has written, beside that of the notes.
_OUR_HEADING = "## Intended use and limits"
# The block of metadata at the beginning of a card, and a block of code: ``` or ~~~, to the same sign or the end.
_METADATA = re.compile(r"\s*---[ \t]*\n.*?\n---", re.DOTALL)
_CODE = re.compile(r"^[ \t]*(```|~~~)[^`\n]*\n.*?(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
# What huggingface_hub raises for metadata that is not YAML, or is not what the Hub expects.
_NOT_METADATA = (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError)

#: Name of the card; the Hub shows the file of this name.
CARD = "README.md"


def write_card(folder: Path, name: str | None = None, license: str | None = None) -> str:
    """Write the card of a model folder, and return its text.

    The section "Notes" of an existing card is kept, and so are its name and licence unless new ones are given.

    Args:
        folder: folder of a saved model.
        name: name of the model on the Hub; by default the name of the folder.
        license: licence of the weights as the Hub spells it.

    Raises:
        InputError: if the folder holds no model.
    """
    before = _read_card(folder / CARD)
    title, licence = _choices(before)
    text = render_card(
        read_records(folder, name or title), license=license or licence, notes=notes_of(before) if before else None
    )
    if before and not {NOTES, _OUR_HEADING} <= set(before.splitlines()):
        _move_away(folder / CARD)
    write_text(folder / CARD, text)
    return text


def _move_away(path: Path) -> None:
    """Rename a README.md that `write_card` has not written, so that its text is not lost."""
    names = (path.with_name(f"README.before{number or ''}.md") for number in itertools.count())
    moved = path.rename(next(name for name in names if not name.exists()))
    logger.warning("%s was not written by hf_genomics; it is %s now", path, moved)


def check_card(folder: Path) -> str:
    """Check the card of a model folder, and return its text.

    Args:
        folder: folder of a saved model.

    Raises:
        InputError: naming the first problem of the card, and the number of further ones.
    """
    path, records = folder / CARD, read_records(folder)
    text = _read_card(path)
    if text is None:
        raise InputError(f"{path} does not exist; write it by hf-genomics card {folder}")
    if problems := card_problems(text, records):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{path}: {problems[0]}{more}; fix it, or write the card again by hf-genomics card {folder}")
    return text


def _read_card(path: Path) -> str | None:
    """Return the text of a card; None if there is no card."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _choices(card: str | None) -> tuple[str | None, str | None]:
    """Return the name and the licence that the author gave an existing card."""
    if card is None:
        return None, None
    text = _CODE.sub("", _METADATA.sub("", card, count=1))  # both may hold comments, which begin with "# ", too
    title = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), None)
    try:
        metadata = _metadata_of(card)
    except _NOT_METADATA:  # the metadata is written anew
        return title, None
    return title, metadata.license if metadata else None


def _metadata_of(card: str) -> ModelCardData | None:
    """Return the metadata of a card; None if the card does not begin with a block between two lines of ``---``."""
    from huggingface_hub import ModelCard

    # huggingface_hub logs a warning for a card without metadata; here that is a problem, which the caller reports.
    return cast("ModelCardData", ModelCard(card, ignore_metadata_errors=False).data) if _METADATA.match(card) else None


def notes_of(card: str) -> str | None:
    """Return the author's own section of a card; None if it has none."""
    _, found, notes = card.partition(f"\n{NOTES}\n")
    return notes.strip() if found and notes.strip() != NO_NOTES else None


def card_problems(card: str, records: Records) -> list[str]:
    """List what must be corrected before a card is published.

    Args:
        card: text of the card.
        records: what is known about the model.

    Returns:
        One line per problem: no metadata, an empty section, a placeholder, a score that differs from metrics.json.
    """
    try:
        metadata = _metadata_of(card)
    except _NOT_METADATA as error:
        return [f"its metadata cannot be read ({' '.join(str(error).split())})"]
    problems = [] if metadata else ["no metadata: the card must begin with a block between two lines of ---"]
    results = (metadata.eval_results or []) if metadata else []
    problems += [f"section {heading!r} is empty" for heading in empty_sections(card)]
    problems += [f"placeholder {found!r} is not filled in" for found in _placeholders(card)]
    test = records.metrics.get("test") or {}
    for result in results:
        shown, truth = result.metric_value, test.get(result.metric_type)
        if not all(isinstance(value, int | float) for value in (shown, truth)) or not abs(shown - truth) <= 5e-4:
            problems.append(f"{result.metric_type} is {result.metric_value} in the card, {truth} in metrics.json")
    return problems + _differing_rows(card, records)


def _placeholders(card: str) -> list[str]:
    """List what a template leaves to the author, such as ``<your name>``; code, links and HTML are none."""
    text = re.sub(r"^    .*$|`[^`\n]*`", "", _CODE.sub("", card), flags=re.MULTILINE)
    return [found for found in re.findall(r"<[a-z][^<>\n]*>", text) if not _is_link_or_html(found[1:-1], text)]


def _is_link_or_html(inside: str, text: str) -> bool:
    """Return whether what stands inside <> is a link, an e-mail address or a tag of HTML."""
    if re.fullmatch(r"[a-z][a-z0-9+.-]*:\S+|\S+@\S+", inside):
        return True
    name = re.split(r"[\s/]", inside, maxsplit=1)[0]
    return name in ("br", "hr", "img") or f"</{name}>" in text


def _differing_rows(card: str, records: Records) -> list[str]:
    """List rows of the table of scores that differ from those that metrics.json gives."""
    if not isinstance(records.metrics.get("test"), dict):
        return []
    present = set(card.splitlines())
    rows = [line for line in score_section(records).splitlines() if line.startswith("| ")][2:]
    return [
        f"the row of {row.split('|')[1].strip()!r} in the table of scores is missing or differs from metrics.json"
        for row in rows
        if row not in present
    ]


def empty_sections(card: str) -> list[str]:
    r"""List the headings of a card that no text follows.

    >>> empty_sections("# A model\n\n## Data\n\n## Use\n\nLoad it.\n")
    ['Data']
    """
    # A comment in a block of code may begin with "##" too, and a heading below another one is part of its text.
    parts = re.split(r"^(##+) +(.+)$", _CODE.sub("code", card), flags=re.MULTILINE)[1:]
    sections = [*zip(map(len, parts[::3]), parts[1::3], parts[2::3], strict=True)]  # level, heading, text
    next_levels = [*(level for level, *_ in sections), 0][1:]
    return [
        heading.strip()
        for (level, heading, text), following in zip(sections, next_levels, strict=True)
        if not text.strip() and following <= level
    ]
