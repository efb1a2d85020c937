"""Transformers' own tests of models, configurations, tokenizers and pipelines, on ours: `make conformance`."""

import mixins

mixins.install()
