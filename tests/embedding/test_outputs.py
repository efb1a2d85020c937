"""Vectors are read back by pandas and numpy as they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hf_genomics import InputError
from hf_genomics.embedding import outputs as module
from hf_genomics.embedding.outputs import HEADERS, output_files, row_of, write_vectors
from hf_genomics.embedding.vectors import Embedded
from hf_genomics.inference.growing_table import GrowingTable

VECTORS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
VECTORS[3], VECTORS[5, 1] = np.nan, np.nan  # no vector; one number overflowed


@pytest.mark.parametrize("pooling", ["mean", "tokens"])
@pytest.mark.parametrize("name", ["x.parquet", "x.npy"])
def test_vectors_come_back_with_their_rows(name, pooling, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 4)
    files = output_files(tmp_path / name)
    rows = [Embedded(index, f"a\tb {index}", 0, index + 5, vector) for index, vector in enumerate(VECTORS)]
    with GrowingTable(files[0], [*HEADERS[pooling], "embedding"], {}, False) as table:
        for one in rows:
            table.write(row_of(one, pooling))
        table.finish(lambda path: write_vectors(path, files, pooling, VECTORS.shape))
    assert sorted(tmp_path.iterdir()) == sorted(files)
    if name == "x.npy":
        found, frame = np.load(files[0]), pd.read_csv(files[1], sep="\t")
        names = [one.name.replace("\t", " ") for one in rows]
    else:
        frame = pd.read_parquet(files[0])
        assert frame["embedding"].isna().tolist() == [index == 3 for index in range(9)]
        found = np.array([np.full(4, np.nan) if one is None else one for one in frame.pop("embedding")], np.float32)
        names = [one.name for one in rows]
    np.testing.assert_array_equal(found, VECTORS)
    assert list(frame) == HEADERS[pooling] and frame["id"].tolist() == names
    assert frame.iloc[:, -1].tolist() == [one.end for one in rows]


def test_another_suffix_is_refused():
    with pytest.raises(InputError, match=r"\.parquet or \.npy"):
        output_files(Path("x.tsv"))
