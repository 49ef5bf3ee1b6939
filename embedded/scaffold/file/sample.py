"""Write a sample, a file a day: `python -m include.workflows.$name.sample`."""

import csv
import os
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from include.settings import read_settings
from include.workflows.$name.sample_rows import sample_days, sample_rows


def write_sample(folder: Path) -> str:
    """Write the sample; a folder needs no connection, so the result is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for day in sample_days():
        path = folder / f"{day}.csv"
        rows = [{**row, "is_late": str(row["is_late"]).lower()} for row in sample_rows(day)]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()} for row in rows)
        # As files of that day are: one that was changed a moment ago may still be growing, and is left alone.
        written_at = (datetime.combine(day, time(), UTC) + timedelta(days=1)).timestamp()
        os.utime(path, (written_at, written_at))
    return ""


if __name__ == "__main__":
    sys.stdout.write(write_sample(read_settings().home / "samples" / "$name") + "\n")
