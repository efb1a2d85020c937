"""Turn sequences into vectors: mean, [CLS] or one per token, as Parquet or npy files, with a picture."""
