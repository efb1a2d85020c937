"""Runs in processes of their own, shared by several commands: one for each cell of a grid."""
