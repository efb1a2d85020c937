"""The genome store: letters, metadata, splits and the windows cut from them."""
