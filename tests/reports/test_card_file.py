"""A card is written beside the weights, keeps its author's words, and is checked before it is published."""

from __future__ import annotations

import json

import pytest

from hf_genomics import KmerBertForSequenceClassification, KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.reports.card_file import CARD, check_card, empty_sections, notes_of, write_card

SCORES = {"test": {"accuracy": 0.75, "f1": 0.5}, "baselines": {"majority": {"accuracy": 0.6, "f1": 0.0}}}


@pytest.fixture
def folder(tiny_config, tmp_path):
    """A folder of a fine-tuned model with scores and a card."""
    KmerBertForSequenceClassification(tiny_config).save_pretrained(tmp_path)
    KmerTokenizer(3).save_pretrained(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps(SCORES))
    write_card(tmp_path, "user/model", "mit")
    return tmp_path


def change(folder, old: str, new: str) -> None:
    """Replace a part of the card."""
    text = (folder / CARD).read_text()
    assert old in text
    (folder / CARD).write_text(text.replace(old, new))


def test_a_card_that_was_just_written_has_no_problem(folder):
    assert check_card(folder) == (folder / CARD).read_text()


def test_name_licence_and_notes_survive_and_numbers_are_new(folder):
    change(folder, notes_line(folder), "Trained on **phages**.\n\n### More\n\nText.\n")
    (folder / "metrics.json").write_text(json.dumps({**SCORES, "test": {"accuracy": 0.8, "f1": 0.5}}))
    card = write_card(folder)
    assert "# user/model\n" in card and "license: mit" in card and "| this model | 0.800 |" in card
    assert notes_of(card) == "Trained on **phages**.\n\n### More\n\nText."
    assert write_card(folder) == card


def notes_line(folder) -> str:
    """Return what the section of notes holds when nobody has written into it."""
    return (folder / CARD).read_text().split("## Notes\n\n")[1]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("| this model | 0.750 |", "| this model | 0.950 |", "this model"),
        ("| majority | 0.600 |", "| majority | 0.100 |", "majority"),
        ("value: 0.75\n", "value: 0.99\n", "accuracy is 0.99"),
        ("Meant for research", "<what it is for> Meant for research", "<what it is for>"),
        ("license: mit", "license: [mit", "metadata"),
    ],
)
def test_a_wrong_number_a_placeholder_or_broken_metadata_is_named(folder, old, new, named):
    change(folder, old, new)
    with pytest.raises(InputError) as caught:
        check_card(folder)
    assert str(folder / CARD) in str(caught.value) and named in str(caught.value)


def test_an_empty_section_is_named(folder):
    text = (folder / CARD).read_text()
    begin, end = text.index("## Ethics"), text.index("## Use")
    (folder / CARD).write_text(text[:begin] + "## Ethics\n\n" + text[end:])
    with pytest.raises(InputError, match="'Ethics' is empty"):
        check_card(folder)


def test_headings_of_headings_are_no_text():
    assert empty_sections("# A\n\n## B\n\n## C\n\nx\n\n## D\n") == ["B", "D"]
    assert empty_sections("# A\n\nNo section.\n") == []


def test_a_missing_card_and_a_card_in_another_encoding_are_named(folder):
    (folder / CARD).write_bytes("---\nlicense: mit\n---\n# Größe\n".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        write_card(folder)
    (folder / CARD).unlink()
    with pytest.raises(InputError, match="does not exist"):
        check_card(folder)


def test_metadata_that_is_not_yaml_is_written_anew(folder):
    change(folder, "license: mit", "license: [mit")
    assert "license:" not in write_card(folder).split("---")[1]
    check_card(folder)


@pytest.mark.parametrize(
    "notes",
    [
        "See <https://example.org/a> or <me@example.org>.",
        "<details>\n<summary>More</summary>\nText<br>\n</details>",
        "### A heading at once\n\nText.",
        "Text.\n\n```bash\n## a comment\n\n## another one\nrun <name>\n```",
        "~~~\nrun <name>\n~~~",
    ],
)
def test_links_html_code_and_subheadings_in_notes_are_no_problem(folder, notes):
    change(folder, notes_line(folder), f"{notes}\n")
    check_card(folder)
    assert write_card(folder).endswith(f"{notes}\n")


def test_a_placeholder_in_notes_is_named(folder):
    change(folder, notes_line(folder), "Ask <your name> about it.\n")
    with pytest.raises(InputError, match="<your name>"):
        check_card(folder)


def test_a_score_in_the_card_that_is_no_number_is_named(folder):
    change(folder, "value: 0.75\n", "value: high\n")
    with pytest.raises(InputError, match="accuracy is high"):
        check_card(folder)


def test_a_comment_in_metadata_or_code_is_not_the_name_of_the_model(folder):
    comments = "---\n# For reference, see the spec\nlicense: mit\n---\n```\n# a comment\n```\n\n# My model\n"
    (folder / CARD).write_text(comments)
    assert "\n# My model\n" in write_card(folder)


def test_the_text_of_another_readme_with_notes_is_not_lost(folder):
    (folder / CARD).write_text("# Mine\n\nSix months of work.\n\n## Notes\n\nA note.\n")
    assert notes_of(write_card(folder)) == "A note."
    assert "Six months of work." in (folder / "README.before.md").read_text()
