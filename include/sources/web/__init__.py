"""Web pages: crawled politely, archived as received, read from the archive alone."""

from include.sources.web.collection import collect
from include.sources.web.site import open_rows

__all__ = ["collect", "open_rows"]
