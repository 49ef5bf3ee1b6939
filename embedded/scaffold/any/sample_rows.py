"""Rows to try the workflow with. Once it reads your own source, delete this file and `sample.py`."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

N_DAYS, ROWS_A_DAY = 40, 60


def sample_rows(day: date) -> Iterator[dict[str, Any]]:
    """Rows of one day, always the same: dearer ones are late more often, and one in fifty has an impossible amount."""
    rng = random.Random(day.toordinal())
    for number in range(ROWS_A_DAY):
        happened_at = datetime.combine(day, time(), UTC) + timedelta(seconds=1440 * number + rng.randrange(1440))
        kind, amount = rng.choice(["parcel", "letter", "pallet"]), round(rng.uniform(1, 400), 2)
        is_late = rng.random() < 0.1 + amount / 600 + 0.2 * (kind == "pallet")
        yield {
            "event_id": day.toordinal() * 1000 + number,
            "happened_at": happened_at,
            "recorded_at": happened_at + timedelta(hours=1),
            "kind": kind,
            "amount": -1.0 if rng.random() < 0.02 else amount,
            "is_late": is_late,
        }


def sample_days() -> list[date]:
    """The last days that are over."""
    today = datetime.now(UTC).date()
    return [today - timedelta(days=n) for n in range(N_DAYS, 0, -1)]
