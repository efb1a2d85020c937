"""Score variants: what a model says about a change of letters, in genome coordinates."""
