"""Each layout's annotation files, read into `Annotations`."""
