"""Recipes and options on the command line."""

from __future__ import annotations

from pathlib import Path

from .case import Case

CASES: dict[str, Case] = {}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
PRETRAIN_3_MERS = "pretrain --trainer.output_dir out --data.store STORE --tokenizer.k 3"


def written(text: str, *named: str) -> Case:
    """Build the case of a recipe that pretrain refuses."""
    return Case("pretrain --config r.yaml", ("r.yaml", *named), lambda work: (work / "r.yaml").write_text(text))


def option(option: str, value: str, *named: str) -> Case:
    """Build the case of an option that pretrain refuses."""
    return Case(f"{PRETRAIN_3_MERS} --{option} {value}", (option.rpartition(".")[2], *named))


CASES |= {
    "alias_bomb": written(BOMB, "20,000"),
    "alias_bomb_in_a_section": written("model:\n" + "".join(f"  {line}\n" for line in BOMB.splitlines()), "20,000"),
    "alias_of_itself": written("data: &a [*a]\n"),
    "nested_deeply": written("[" * 100_000, "nested"),
    "nested_sections": written("".join(f"{' ' * level}a:\n" for level in range(100)), "nested"),
    "of_two_million_characters": written("#" * 2_000_000, "1,000,000"),
    "a_key_twice": written("trainer:\n  max_steps: 1\n  max_steps: 2\n", "'max_steps'", "twice"),
    "a_section_twice": written("trainer: {max_steps: 1}\ntrainer: {max_steps: 2}\n", "'trainer'", "twice"),
    "a_path_with_a_nul": Case(
        "prepare --config r.yaml",
        ("output_dir", "NUL"),
        lambda work: (work / "r.yaml").write_text('fasta: [x.fa]\noutput_dir: "a\\0b"\n'),
    ),
    "a_path_with_a_nul_in_a_list": Case(
        "prepare --config r.yaml",
        ("fasta", "NUL"),
        lambda work: (work / "r.yaml").write_text('fasta: ["a\\0b"]\noutput_dir: out\n'),
    ),
    "a_key_that_is_null": written("null: null\n", "'null'", "quotes"),
    "a_key_that_is_null_in_a_section": written("trainer:\n  ~: 1\n", "'~'", "quotes"),
    "a_key_that_is_null_on_the_command_line": option("windows", "{null:}", "null"),
    "a_number_of_5000_digits": written(f"trainer: {{max_steps: {'1' * 5000}}}\n", "5000"),
    "code": written("data: !!python/object/apply:os.system [ls]\n", "python/object"),
    "a_value_nested_deeply": option("masking.schedule", "[" * 1000, "nested"),
    **{
        f"{name.rpartition('.')[2]}_{value}".replace("-", "minus_"): option(name, value)
        for name, value in {
            "trainer.max_steps": "1000000000000000000000000000000",
            "trainer.per_device_train_batch_size": "1000000000000",
            "trainer.gradient_accumulation_steps": "0",
            "trainer.save_total_limit": "-1",
            "trainer.dataloader_num_workers": "1000000",
            "trainer.logging_steps": "0",
            "trainer.eval_steps": ".inf",
            "trainer.learning_rate": ".nan",
            "trainer.num_train_epochs": "1e300",
            "trainer.weight_decay": ".inf",
            "trainer.warmup_steps": "null",
            "trainer.seed": "-1",
            "trainer.adam_beta1": "1.5",
            "data.valid_windows": "1000000000000",
            "model.num_hidden_layers": "1000000000",
            "model.hidden_size": "2147483648",
            "model.num_labels": "1000000000",
            "model.rope_theta": ".inf",
            "masking.span": "1000000000000",
            "masking.pack_to": "1000000000000",
            "masking.pad_to_multiple_of": "-5",
            "windows.coverage": "1000000000000",
        }.items()
    },
    "max_steps_null": option("trainer.max_steps", "null", "None"),
}


# Messages name the file or option that set a value, and the key as the verb calls it.


def recipe(**files: str):
    """Return a function that writes YAML files ``NAME.yaml``; ``{x}`` in a text stays as it is."""

    def make(work: Path) -> None:
        for name, text in files.items():
            (work / f"{name}.yaml").write_text(text)

    return make


def rna(work: Path) -> None:
    """Write RNA as a table and as FASTA."""
    (work / "rna.csv").write_text("sequence,label\n" + "ACGUACGUAC,a\nTTGACCATGA,b\n" * 3)
    (work / "rna.fa").write_text(">r\nACGUACGUAC\n")


def latin(work: Path) -> None:
    """Write a recipe in Latin-1."""
    (work / "x.yaml").write_bytes("# café\nfasta: [x]\n".encode("latin-1"))


PRETRAIN = "pretrain --data.store STORE --trainer.output_dir out"
FINETUNE = "finetune --pretrained MLM --data.train TABLE --trainer.output_dir out"
PREDICT = "predict --model TUNED --input OK --output p.tsv"
OF_PRETRAINING = "data: {store: x}\ntrainer: {output_dir: out}\n"
OF_FINETUNING = "pretrained: x\ndata: {train: x.csv}\ntrainer: {output_dir: out}\n"

CASES |= {
    "a_hexadecimal_number_beyond_all_bounds": written("trainer:\n  seed: 0x" + "f" * 9000 + "\n", "characters"),
    "k_in_a_recipe": Case(
        "pretrain --config x.yaml",
        ("x.yaml: tokenizer.k", "9", "1..8"),
        recipe(x=OF_PRETRAINING + "tokenizer: {k: 9}\n"),
    ),
    "k_on_the_command_line": Case(f"{PRETRAIN} --tokenizer.k 9", ("--tokenizer.k", "9", "1..8")),
    "k_in_a_recipe_then_on_the_command_line": Case(
        "pretrain --config x.yaml --tokenizer.k 9", ("--tokenizer.k",), recipe(x=OF_PRETRAINING + "tokenizer: {k: 3}\n")
    ),
    "k_on_the_command_line_then_in_a_recipe": Case(
        "pretrain --tokenizer.k 3 --config x.yaml",
        ("x.yaml: tokenizer.k",),
        recipe(x=OF_PRETRAINING + "tokenizer: {k: 9}\n"),
    ),
    "k_in_the_file_of_a_section": Case(
        f"{PRETRAIN} --tokenizer t.yaml", ("t.yaml: tokenizer.k", "9"), recipe(t="k: 9\n")
    ),
    "k_of_the_wrong_type": Case(
        "pretrain --config x.yaml",
        ("x.yaml:", "tokenizer.k", "six"),
        recipe(x=OF_PRETRAINING + "tokenizer: {k: six}\n"),
    ),
    "a_stride_of_zero": Case(f"{PRETRAIN} --tokenizer.stride 0", ("--tokenizer.stride", "0")),
    "a_size_of_the_wrong_type": Case(
        "pretrain --config x.yaml",
        ("x.yaml:", "model.hidden_size"),
        recipe(x=OF_PRETRAINING + "model: {hidden_size: big}\n"),
    ),
    "an_activation_that_does_not_exist": Case(f"{PRETRAIN} --model.hidden_act foo", ("--model.hidden_act", "'foo'")),
    "a_length_of_zero_in_a_recipe": Case(
        "pretrain --config x.yaml", ("x.yaml: windows.length", "0"), recipe(x=OF_PRETRAINING + "windows: {length: 0}\n")
    ),
    "a_share_above_one": Case(f"{PRETRAIN} --windows.rc_probability 2", ("--windows.rc_probability", "2")),
    "a_mode_that_does_not_exist": Case(
        "pretrain --config x.yaml",
        ("x.yaml:", "windows.mode", "cut"),
        recipe(x=OF_PRETRAINING + "windows: {mode: cut}\n"),
    ),
    "no_windows_to_validate_on": Case(
        "pretrain --config x.yaml",
        ("x.yaml: data.valid_windows", "0"),
        recipe(x="data: {store: x, valid_windows: 0}\ntrainer: {output_dir: out}\n"),
    ),
    "a_negative_learning_rate_in_a_recipe": Case(
        "finetune --config x.yaml",
        ("x.yaml: trainer.learning_rate", "-1"),
        recipe(x="pretrained: x\ndata: {train: x.csv}\ntrainer: {output_dir: out, learning_rate: -1}\n"),
    ),
    "a_negative_learning_rate": Case(f"{FINETUNE} --trainer.learning_rate=-1", ("--trainer.learning_rate", "-1")),
    "a_batch_of_none": Case(
        f"{FINETUNE} --trainer.per_device_train_batch_size 0", ("--trainer.per_device_train_batch_size",)
    ),
    "a_schedule_that_does_not_exist": Case(
        f"{FINETUNE} --trainer.lr_scheduler_type lineer", ("--trainer.lr_scheduler_type", "lineer")
    ),
    "a_dropout_of_two_in_a_recipe": Case(
        "finetune --config x.yaml", ("x.yaml: head.dropout", "2"), recipe(x=OF_FINETUNING + "head: {dropout: 2}\n")
    ),
    "parts_of_none": Case(f"{FINETUNE} --head.num_parts 0", ("--head.num_parts", "0")),
    "two_kinds_of_labels_in_a_recipe": Case(
        "finetune --config x.yaml",
        ("x.yaml: data.columns.labels", "data.columns.nt_labels"),
        recipe(
            x="pretrained: x\ndata: {train: x.csv, columns: {labels: [a], nt_labels: b}}\ntrainer: {output_dir: out}\n"
        ),
    ),
    "two_kinds_of_labels_of_check": Case(
        "check TABLE --columns.labels a --columns.nt_labels b", ("--columns.labels", "columns.nt_labels")
    ),
    "records_of_no_length_in_a_recipe": Case(
        "prepare --config x.yaml",
        ("x.yaml: records.min_length", "0"),
        recipe(x="fasta: [x.fa]\noutput_dir: st\nrecords: {min_length: 0}\n"),
    ),
    "a_batch_of_predictions_of_none": Case(
        f"{PREDICT} --batch_size 0", ("--batch_size", "0"), remedy=f"{PREDICT} --batch_size 1", leaves=()
    ),
    "a_k_of_check": Case("check OK --k 0", ("--k", "0"), remedy="check OK --k 6"),
    "a_baseline_in_a_recipe": Case(
        "finetune --config x.yaml", ("x.yaml: baseline_k", "9"), recipe(x=OF_FINETUNING + "baseline_k: 9\n")
    ),
    "a_recipe_in_latin_1": Case("prepare --config x.yaml", ("x.yaml:", "UTF-8"), latin),
    "a_section_in_latin_1": Case("prepare --records x.yaml", ("x.yaml:", "UTF-8"), latin),
    "rna_for_prepare": Case(
        "prepare --fasta rna.fa --output_dir st",
        ("rna.fa: record 1", "--records.rna true"),
        rna,
        remedy="prepare --fasta rna.fa --output_dir st --records.rna true",
    ),
    "rna_for_predict": Case(
        "predict --model TUNED --input rna.fa --output p.tsv",
        ("rna.fa: record 1", "--rna true"),
        rna,
        remedy="predict --model TUNED --input rna.fa --output p.tsv --rna true",
    ),
    "rna_for_finetune": Case(
        "finetune --pretrained MLM --data.train rna.csv --trainer.output_dir out --trainer.save_strategy no",
        ("rna.csv: data row 1", "--data.rna true"),
        rna,
        remedy="finetune --pretrained MLM --data.train rna.csv --trainer.output_dir out --data.rna true "
        "--trainer.max_steps 1 --trainer.save_strategy no --trainer.report_to none --baseline_k 0",
    ),
    "an_unknown_baseline": Case(
        "finetune --pretrained MLM --data.train TABLE --trainer.output_dir out --baselines k-mer",
        ("baselines", "k-mer"),
    ),
    "baselines_without_a_training_table": Case(
        "evaluate --model TUNED --data.test TABLE --output_dir out --baselines kmer",
        ("data.train",),
        remedy="evaluate --model TUNED --data.test TABLE --output_dir out --baselines kmer --data.train TABLE",
    ),
    "a_pair_for_a_model_of_single_sequences": Case(
        "predict --model TUNED --input TABLE --output p.tsv --columns.pair x",
        ("does not take second sequences", "columns.pair"),
        remedy="predict --model TUNED --input TABLE --output p.tsv",
    ),
}

# What other programs call an option leads to what it is called here.
CASES |= {
    f"{typed.replace('.', '_')}_from_elsewhere": Case(f"{command} --{typed} {value}", (typed, f"'{meant}'"))
    for command, typed, value, meant in (
        (FINETUNE, "lr", "0.1", "trainer.learning_rate"),
        (FINETUNE, "epochs", "3", "trainer.num_train_epochs"),
        (FINETUNE, "trainer.evaluation_strategy", "steps", "trainer.eval_strategy"),
        (FINETUNE, "trainer.warmup_ratio", "0.1", "trainer.warmup_steps"),
        (FINETUNE, "trainer.no_cuda", "true", "trainer.use_cpu"),
        (FINETUNE, "seed", "1", "trainer.seed"),
        (FINETUNE, "fp16", "true", "trainer.fp16"),
        (FINETUNE, "gradient_checkpointing", "true", "trainer.gradient_checkpointing"),
        (PREDICT, "data.rna", "true", "rna"),
        (PRETRAIN, "kmer", "6", "tokenizer.k"),
        (PRETRAIN, "overwrite_output_dir", "true", "overwrite"),
    )
}
CASES |= {
    "shares_that_do_not_sum_to_1": Case(
        "prepare --fasta OK --split 0.8 0.1 0.2 --output_dir out",
        ("split", "0.8, 0.1, 0.2", "0.8 0.1 0.1"),
        remedy="prepare --fasta OK --split 0.8 0.1 0.1 --output_dir out",
    ),
    "early_stopping_is_not_a_learning_rate": Case(
        f"{FINETUNE} --trainer.early_stopping_patience 3", ("trainer.early_stopping_patience", "'head.early_stopping'")
    ),
    "groups_by_length_are_not_needed": Case(
        f"{FINETUNE} --trainer.group_by_length true", ("group_by_length", "omit it")
    ),
    "a_vocabulary_follows_from_k": Case(f"{PRETRAIN} --model.vocab_size 100", ("model.vocab_size", "tokenizer.k")),
}
