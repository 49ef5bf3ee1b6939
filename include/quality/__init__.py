"""Quality: which rows of a partition are published, and why the others are not."""
