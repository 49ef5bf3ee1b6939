"""Read labelled images: what is there, what it shows, what is wrong with it. The bytes stay where they are."""

from include.sources.images.reading import open_rows

__all__ = ["open_rows"]
