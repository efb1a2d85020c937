"""Turn rows into tensors: hashed random numbers, span masking, padding and packing."""
