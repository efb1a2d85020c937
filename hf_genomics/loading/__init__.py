"""Load models and tokenizers from disk or the Hub, and check their files first."""
