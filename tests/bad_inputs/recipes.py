"""Recipes and options on the command line."""

from __future__ import annotations

from .case import Case

CASES: dict[str, Case] = {}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
PRETRAIN = "pretrain --trainer.output_dir out --data.store STORE --tokenizer.k 3"


def recipe(text: str, *named: str) -> Case:
    """Build the case of a recipe that pretrain refuses."""
    return Case("pretrain --config r.yaml", ("r.yaml", *named), lambda work: (work / "r.yaml").write_text(text))


def option(option: str, value: str, *named: str) -> Case:
    """Build the case of an option that pretrain refuses."""
    return Case(f"{PRETRAIN} --{option} {value}", (option.rpartition(".")[2], *named))


CASES |= {
    "alias_bomb": recipe(BOMB, "20,000"),
    "alias_bomb_in_a_section": recipe("model:\n" + "".join(f"  {line}\n" for line in BOMB.splitlines()), "20,000"),
    "alias_of_itself": recipe("data: &a [*a]\n"),
    "nested_deeply": recipe("[" * 100_000, "nested"),
    "nested_sections": recipe("".join(f"{' ' * level}a:\n" for level in range(100)), "nested"),
    "of_two_million_characters": recipe("#" * 2_000_000, "1,000,000"),
    "a_key_twice": recipe("trainer:\n  max_steps: 1\n  max_steps: 2\n", "'max_steps'", "twice"),
    "a_section_twice": recipe("trainer: {max_steps: 1}\ntrainer: {max_steps: 2}\n", "'trainer'", "twice"),
    "a_number_of_5000_digits": recipe(f"trainer: {{max_steps: {'1' * 5000}}}\n", "5000"),
    "code": recipe("data: !!python/object/apply:os.system [ls]\n", "python/object"),
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
