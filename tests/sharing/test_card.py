"""The verb `card` writes a card for any model folder, or checks the one that is there."""

from __future__ import annotations

import pytest

from hf_genomics import KmerBertForMaskedLM, KmerTokenizer, card
from hf_genomics.cli import main
from hf_genomics.errors import InputError


@pytest.fixture
def folder(tiny_config, tmp_path):
    """A folder of a saved model, without a card."""
    KmerBertForMaskedLM(tiny_config).save_pretrained(tmp_path / "model")
    KmerTokenizer(3).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_command_line_writes_and_checks(folder, capsys):
    assert main(["card", str(folder), "--name", "user/model", "--license", "mit"]) == 0
    text = (folder / "README.md").read_text()
    assert "# user/model" in text and "license: mit" in text
    assert main(["card", str(folder), "--check", "true"]) == 0
    assert (folder / "README.md").read_text() == text
    capsys.readouterr()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n\n## Data\n")
    assert main(["card", str(folder), "--check", "true"]) == 2
    assert "'Data' is empty" in capsys.readouterr().err


def test_checking_writes_nothing(folder):
    with pytest.raises(InputError, match="does not exist"):
        card(str(folder), check=True)
    assert not (folder / "README.md").exists()


def test_the_length_of_the_text_is_returned(folder):
    found = card(str(folder))
    assert found == {"card": str(folder / "README.md"), "characters": len((folder / "README.md").read_text())}


def test_a_folder_without_a_model_is_not_told_to_write_a_card(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        card(str(tmp_path / "typo"), check=True)
