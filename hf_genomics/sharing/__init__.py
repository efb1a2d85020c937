"""DNABERT's folders in and out, and models onto the Hub."""
