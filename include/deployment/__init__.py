"""From evidence to an answering endpoint: verify, stage, smoke-test, promote, roll back."""
