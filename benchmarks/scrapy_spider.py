"""
The spider of `benchmarks/web_pages.py`, in a process of its own: start address, folder and concurrency are its
arguments.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess

SETTINGS = {
    "ROBOTSTXT_OBEY": True,
    "DOWNLOAD_DELAY": 0,
    "COOKIES_ENABLED": False,
    "LOG_LEVEL": "ERROR",
    "TELNETCONSOLE_ENABLED": False,
}


class PagesSpider(scrapy.Spider):
    """Keeps every page, reads its rows, follows its links."""

    name = "pages"

    def __init__(self, *, start: str, folder: Path) -> None:
        super().__init__()
        self.start_urls = [start]
        self.folder = folder
        self.n_pages = 0
        self.n_rows = 0

    def parse(self, response: Any) -> Iterator[Any]:
        """One page."""
        self.n_pages += 1
        (self.folder / hashlib.sha256(response.body).hexdigest()).write_bytes(response.body)
        rows = [
            {
                "name": item.css("h3::text").get(),
                "day": item.css("time::attr(datetime)").get(),
                "price": item.css("b::text").get(),
                "link": response.urljoin(item.css("a::attr(href)").get()),
            }
            for item in response.css("div.item")
        ]
        self.n_rows += len(rows)
        for href in response.css("a::attr(href)").getall():
            if href.startswith("/page"):
                yield response.follow(href, self.parse)


def main(start: str, folder: str, concurrency: str) -> None:
    """Crawl, and print what came of it."""
    settings = {**SETTINGS, "CONCURRENT_REQUESTS": int(concurrency), "CONCURRENT_REQUESTS_PER_DOMAIN": int(concurrency)}
    process = CrawlerProcess(settings)
    crawler = process.create_crawler(PagesSpider)
    process.crawl(crawler, start=start, folder=Path(folder))
    begun = monotonic()
    process.start()
    spider: Any = crawler.spider
    print(json.dumps({"seconds": monotonic() - begun, "n_pages": spider.n_pages, "n_rows": spider.n_rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
