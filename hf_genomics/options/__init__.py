"""The options of a command line and of YAML files: names, help, parsing, checks, messages."""
