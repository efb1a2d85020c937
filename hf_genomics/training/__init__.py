"""Training: pretrain and fine-tune on top of transformers' Trainer, measure against baselines, and report."""
