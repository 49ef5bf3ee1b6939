"""Operators: each stores its arguments and makes one call into `include`. Heavy imports wait for `execute`."""
