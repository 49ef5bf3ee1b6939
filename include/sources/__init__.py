"""Read one partition from a source and archive it in `<name>/raw`."""
