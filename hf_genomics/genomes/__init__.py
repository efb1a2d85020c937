"""The genome store: letters on disk, metadata, splits, and the windows cut from them."""
