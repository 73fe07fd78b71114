"""Command-line tools: `python -m launch.<tool> --help` says what each one does."""
