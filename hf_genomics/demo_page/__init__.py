"""A page in the browser on which anybody can try a model with DNA of their own."""
