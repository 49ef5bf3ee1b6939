"""
The page itself, a Streamlit script: `streamlit run include/app/page.py -- flight_delays`.

Its form is made from the columns of the model that serves, so that it fits whatever is deployed next.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any

import streamlit as st

from include.app.client import AppError, Field, Served, predict, predict_csv, read_served
from include.settings import Settings, read_settings

MAX_FILE_BYTES = 1_000_000


def main(workflow_name: str) -> None:
    """Show the page of one workflow."""
    st.set_page_config(page_title=workflow_name, layout="centered")
    settings = read_settings()
    url = settings.endpoint_url_of(workflow_name)
    st.title(workflow_name.replace("_", " ").capitalize())
    try:
        served = read_served(url)
    except AppError as error:
        st.error(str(error))
        return
    st.caption(f"Version {served.version} ({served.family}), as of {served.as_of}, answers at {url}")
    row, file, card = st.tabs(["One row", "A file", "Model card"])
    with row:
        _show_form(served, url, _sample(settings, workflow_name))
    with file:
        _show_file(url)
    with card:
        _show_card(settings, served)


def _show_form(served: Served, url: str, sample: dict[str, Any]) -> None:
    with st.form("row"):
        places = st.columns(2)
        record = {
            field.name: _ask_for(field, sample.get(field.name), places[n % 2]) for n, field in enumerate(served.fields)
        }
        is_asked = st.form_submit_button("Predict", type="primary")
    if not is_asked:
        return
    try:
        (prediction,) = predict(url, [record])
    except AppError as error:
        st.error(str(error))
        return
    label, score = prediction["label"], prediction["score"]
    if label is None:
        st.metric("Prediction", f"{score:,.3f}")
    else:
        st.metric(
            "Prediction", "yes" if label else "no", f"probability {score:.1%}", delta_color="off", delta_arrow="off"
        )
    st.caption(f"by version {served.version}")


def _ask_for(field: Field, value: Any, place: Any) -> Any:
    """One input; left empty it is a missing value."""
    if field.kind == "boolean":
        options = [None, True, False]
        return place.selectbox(
            field.name, options, index=options.index(value) if value in options else 0, format_func=_name_of
        )
    if field.kind in ("number", "integer"):
        step = 1 if field.kind == "integer" else None
        given = None if value is None else (int(value) if field.kind == "integer" else float(value))
        return place.number_input(field.name, value=given, step=step, format=None if step else "%g")
    hint = "2026-11-23T09:30:00Z" if field.kind == "timestamp" else None
    return place.text_input(field.name, value=value or "", placeholder=hint) or None


def _name_of(value: bool | None) -> str:
    return {None: "not known", True: "yes", False: "no"}[value]


def _show_file(url: str) -> None:
    st.write("A CSV file whose first line names the columns; an empty cell is a missing value.")
    upload = st.file_uploader("CSV file", type="csv")
    if upload is None:
        return
    data = upload.getvalue()
    if len(data) > MAX_FILE_BYTES:
        st.error(f"the file has {len(data):,} bytes, at most {MAX_FILE_BYTES:,} are taken: split it")
        return
    try:
        predictions = predict_csv(url, data)
    except AppError as error:
        st.error(str(error))
        return
    rows = [row for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig"))) if any(row.values())]
    answered = [{"label": p["label"], "score": p["score"], **row} for p, row in zip(predictions, rows, strict=True)]
    st.dataframe(answered)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(answered[0]))
    writer.writeheader()
    writer.writerows(answered)
    st.download_button("Download", text.getvalue(), "predictions.csv", "text/csv")


def _show_card(settings: Settings, served: Served) -> None:
    from include.errors import UpdraftError
    from include.registry import open_registry, read_version, version_folder

    try:
        registry = open_registry(settings)
        with version_folder(registry, read_version(registry, served.name, served.version)) as folder:
            path = folder / "card.html"
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except UpdraftError as error:
        st.warning(f"The card can't be read: {error}")
        return
    if text:
        st.iframe(text, height=900)
    else:
        st.write("This version has no card.")


def _sample(settings: Settings, workflow_name: str) -> dict[str, Any]:
    """What `make demo` left to begin with; nothing, if it did not run."""
    try:
        sample: dict[str, Any] = json.loads(
            (settings.home / f"sample_request.{workflow_name}.json").read_text(encoding="utf-8")
        )
    except (OSError, ValueError):
        return {}
    return sample


if __name__ == "__main__":
    main(sys.argv[1])
