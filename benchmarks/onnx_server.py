"""
FastAPI with ONNX Runtime, as a peer of the endpoint. It runs in a virtual environment of its own, with nothing of this
project.

`python onnx_server.py PORT < {"columns": {name: values}, "numbers": [...], "categories": [...], "labels": [...]}`
fits a logistic pipeline on the columns, converts it, and serves `POST /invocations` with one record.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def fit_and_convert(data: dict[str, Any]) -> bytes:
    """
    Fit the same kind of pipeline (without rare categories and missing-value indicators, which the converter does not
    know).
    """
    import pandas as pd
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = ColumnTransformer(
        [("numbers", StandardScaler(), data["numbers"]), ("categories", one_hot, data["categories"])]
    )
    pipeline = Pipeline([("prepare", prepare), ("model", LogisticRegression(max_iter=300))])
    pipeline.fit(pd.DataFrame(data["columns"]), data["labels"])
    types = [(name, FloatTensorType([None, 1])) for name in data["numbers"]]
    types += [(name, StringTensorType([None, 1])) for name in data["categories"]]
    converted = convert_sklearn(pipeline, initial_types=types, options={id(pipeline): {"zipmap": False}})
    return bytes(converted.SerializeToString())


def build_app(model: bytes, numbers: list[str]) -> Any:
    """Serve the model: one record in, its score out; arrays straight into the runtime, no DataFrame."""
    import numpy as np
    import onnxruntime
    from fastapi import FastAPI, Request

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    app = FastAPI()

    async def invocations(request):  # type: ignore[no-untyped-def]
        row = await request.json()
        feed = {name: np.array([[row[name]]], dtype=np.float32 if name in numbers else object) for name in names}
        probabilities = session.run(None, feed)[1]
        return {"predictions": [{"score": float(probabilities[0, 1])}]}

    # a text annotation could not be resolved from within this function
    invocations.__annotations__["request"] = Request
    app.post("/invocations")(invocations)
    app.get("/ping")(lambda: {"status": "ok"})
    return app


def main() -> None:
    """Serve until killed."""
    import uvicorn

    data = json.load(sys.stdin)
    app = build_app(fit_and_convert(data), data["numbers"])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
