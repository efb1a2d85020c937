"""Inputs of `hf-genomics demo`: models and addresses. (A good command would not end, so no case has a remedy.)"""

from __future__ import annotations

from .case import Case

CASES: dict[str, Case] = {
    "no_model": Case("demo --port 0", ("model",)),
    "model_that_is_not_there": Case("demo --model gone --port 0", ("gone",)),
    "untuned_model": Case("demo --model MLM --port 0", ("mlm", "finetune")),
    "damaged_model": Case("demo --model DAMAGED --port 0", ("damaged",)),
    "weights_that_are_nan": Case("demo --model NAN --port 0", ("nan",)),
    "port_out_of_range": Case("demo --model TUNED --port 70000", ("port", "70000", "65535")),
    "port_in_words": Case("demo --model TUNED --port http", ("port", "http")),
    "address_of_another_machine": Case("demo --model TUNED --host 192.0.2.1 --port 0", ("192.0.2.1", "--host")),
}
