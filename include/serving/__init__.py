"""The endpoint process: bounded, verified, and every prediction logged. `python -m include.serving --help`."""
