"""Rows to tensors: hashed random numbers, span masking, padding and packing."""
