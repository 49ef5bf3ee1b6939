"""From a pinned snapshot of the lake to a stored model: split, features, families, search, fit, the compiled scorer."""
