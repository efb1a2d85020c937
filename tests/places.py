"""Files and folders, good and bad, that tests of the command line name in capitals."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from small_files import dna, fasta, table

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def make_places(home: Path) -> dict[str, str]:
    """Write the files and folders below ``home``, and return their paths by name."""
    from hf_genomics import (
        KmerBertConfig,
        KmerBertForMaskedLM,
        KmerBertForSequenceClassification,
        KmerTokenizer,
        prepare,
    )

    (home / "filled").mkdir()
    (home / "filled" / "thesis.txt").write_text("mine")
    (home / "cut.fa.gz").write_bytes(gzip.compress((">r\n" + dna(5000) + "\n").encode())[:600])
    (home / "broken.yaml").write_text("data:\n  store: [\n")
    prepared = fasta(home / "ok.fa", **{f"r{seed}": dna(200, seed) for seed in range(6)})
    (home / "splits.tsv").write_text(
        "accession\tsplit\n" + "".join(f"r{row}\t{('train', 'valid', 'test')[row // 2]}\n" for row in range(6))
    )
    prepare([prepared], str(home / "store"), str(home / "splits.tsv"))
    config = {"k": 3, "max_position_embeddings": 64, **SIZES}
    names = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}, "problem_type": "single_label_classification"}
    for name, model in {
        "mlm": KmerBertForMaskedLM(KmerBertConfig(**config)),
        "tuned": KmerBertForSequenceClassification(KmerBertConfig(**config, **names)),
        "damaged": KmerBertForSequenceClassification(KmerBertConfig(**config, **names)),
        "nan": _spoilt(KmerBertForSequenceClassification(KmerBertConfig(**config, **names)), "nan"),
        "infinite": _spoilt(KmerBertForSequenceClassification(KmerBertConfig(**config, **names)), "inf"),
        "nan_mlm": _spoilt(KmerBertForMaskedLM(KmerBertConfig(**config)), "nan"),
    }.items():
        model.save_pretrained(home / name)
        KmerTokenizer(k=3).save_pretrained(home / name)
    (home / "damaged" / "model.safetensors").write_bytes(b"")
    rows = ["ACGTACGTAC,a", "TTGACCATGA,b"] * 3
    return {
        "OK": prepared,
        "PROTEIN": fasta(home / "protein.fa", p="MKVLAAGE"),
        "SHORT": fasta(home / "short.fa", s="AC"),
        "TABLE": table(home / "table.csv", *rows),
        "UNLABELLED": table(home / "unlabelled.csv", "ACGTAC,a", "ACGTAC,"),
        "LONG": table(home / "long.csv", *rows, f"{dna(150)},a"),
        "OTHER": table(home / "other.csv", "ACGTAC,c", "ACGTAC,a"),
        "QUICKSTART": str(Path(__file__).parents[1] / "recipes" / "quickstart.yaml"),
        "BROKEN": str(home / "broken.yaml"),
        "CUT": str(home / "cut.fa.gz"),
        **{name.upper(): str(home / name) for name in ("store", "mlm", "tuned", "damaged", "filled")},
        **{name.upper(): str(home / name) for name in ("nan", "infinite", "nan_mlm")},
    }


def _spoilt(model: Any, value: str) -> Any:
    """Return a model in which one value of a weight of the encoder is NaN or infinite."""
    next(model.bert.encoder.parameters()).data.flatten()[3] = float(value)
    return model
