"""Bad inputs of every kind: what each is, which verdict it gets, and what the message must name."""
