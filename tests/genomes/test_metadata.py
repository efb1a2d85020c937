"""Rules for records: values out of range are errors at once."""

from __future__ import annotations

import pytest

from hf_genomics.errors import InputError
from hf_genomics.genomes.metadata import RecordRules


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"min_length": -5}, ["records", "min_length", "at least 1 nt", "-5"]),
        ({"min_length": 0}, ["records", "min_length", "0"]),
        ({"genome_by": "contig"}, ["records", "genome_by", "'record'", "'file'", "'contig'"]),
    ],
)
def test_rules_out_of_range_are_errors(options: dict, facts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        RecordRules(**options)
    assert all(fact in str(error.value) for fact in facts)
