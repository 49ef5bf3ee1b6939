"""
Write a sample site: `python -m include.workflows.$name.sample`.

Serve it with `python -m http.server 8765 --bind 127.0.0.1 --directory <the folder that it names>`.
"""

import sys
from pathlib import Path

from include.settings import read_settings
from include.workflows.$name.sample_rows import sample_days, sample_rows

ARTICLE = (
    "<article id='e{event_id}'><time datetime='{happened_at:%Y-%m-%dT%H:%M:%SZ}'></time>"
    "<time class='recorded' datetime='{recorded_at:%Y-%m-%dT%H:%M:%SZ}'></time><b class='kind'>{kind}</b>"
    "<i class='amount'>{amount}</i><i class='late'>{late}</i></article>"
)


def write_sample(folder: Path) -> str:
    """Write the sample, and return the URI of its connection once it is served as this module says."""
    folder.mkdir(parents=True, exist_ok=True)
    links = []
    for day in sample_days():
        articles = "".join(ARTICLE.format(**row, late=str(row["is_late"]).lower()) for row in sample_rows(day))
        (folder / f"day-{day}.html").write_text(f"<html><body>{articles}</body></html>", encoding="utf-8")
        links.append(f"<a href='/day-{day}.html'>{day}</a>")
    index = f"<html><body>{' '.join(links)}</body></html>"
    (folder / "index.html").write_text(index, encoding="utf-8")
    return "http://127.0.0.1:8765/?allow_private_host=true"


if __name__ == "__main__":
    sys.stdout.write(write_sample(read_settings().home / "samples" / "$name") + "\n")
