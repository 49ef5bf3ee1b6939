"""Write a sample database: `python -m include.workflows.$name.sample`."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from include.settings import read_settings
from include.workflows.$name.sample_rows import sample_days, sample_rows


def write_sample(folder: Path) -> str:
    """Write the sample, and return the URI of its connection."""
    folder.mkdir(parents=True, exist_ok=True)
    path = (folder / "events.db").resolve()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE IF EXISTS events")
        database.execute(
            "CREATE TABLE events (event_id INTEGER, happened_at TIMESTAMP, recorded_at TIMESTAMP, kind TEXT, amount REAL, is_late BOOLEAN)"
        )
        for row in (row for day in sample_days() for row in sample_rows(day)):
            times = [row[name].strftime("%Y-%m-%d %H:%M:%S") for name in ("happened_at", "recorded_at")]
            values = [row["event_id"], *times, row["kind"], row["amount"], row["is_late"]]
            database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", values)
    return f"sqlite:///{path}"


if __name__ == "__main__":
    sys.stdout.write(write_sample(read_settings().home / "samples" / "$name") + "\n")
