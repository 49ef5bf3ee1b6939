"""The Open Inference Protocol, version 2: one tensor a column in, the tensors `label` and `score` out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from include.errors import RequestError
from include.modeling.schema import InputColumn
from include.serving.inputs import check_number_of_rows, parse_json
from include.serving.limits import Limits
from include.serving.served_model import ServedModel

PLATFORM = "updraft_sklearn"
OUTPUTS = [{"name": "label", "datatype": "BOOL", "shape": [-1]}, {"name": "score", "datatype": "FP64", "shape": [-1]}]
# Timestamps travel as ISO 8601 text: the protocol has no time type.
_DATATYPE_OF = {"number": "FP64", "text": "BYTES", "boolean": "BOOL", "timestamp": "BYTES"}
_INTEGERS = {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_TYPES: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    "BYTES": (str,),
    **dict.fromkeys(("FP16", "FP32", "FP64"), (int, float)),
    **dict.fromkeys(_INTEGERS, (int,)),
}
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def infer_records(body: bytes, limits: Limits) -> tuple[str | None, list[Mapping[str, Any]]]:
    """
    Read an inference request: its id, if it has one, and its rows.

    Raises
    ------
    RequestError
        If it is no such request; the message names the tensor.

    """
    content = parse_json(body, limits)
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list) or not content["inputs"]:
        raise RequestError(
            "the body holds no tensors: send {'inputs': [{name, shape, datatype, data}, ...]}, one tensor a column"
        )
    request_id = content.get("id")
    if request_id is not None and not (isinstance(request_id, str) and _ID.fullmatch(request_id)):
        raise RequestError("the request's id is not plain: use up to 64 letters, digits, '.', '_' or '-'")
    _check_outputs(content.get("outputs"))
    columns: dict[str, list[Any]] = {}
    for i, tensor in enumerate(content["inputs"]):
        name, values = _read_tensor(tensor, i, limits)
        if name in columns:
            raise RequestError(f"tensor {name!r} is there twice: send one tensor a column")
        columns[name] = values
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise RequestError("the tensors differ in their number of rows: give each the same shape", status=422)
    return request_id, [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def infer_response(model_name: str, model: ServedModel, *, request_id: str, scores: Sequence[float]) -> dict[str, Any]:
    """Answer an inference request."""
    shape = [len(scores)]
    return {
        "model_name": model_name,
        "model_version": model.version,
        "id": request_id,
        "outputs": [
            {"name": "label", "datatype": "BOOL", "shape": shape, "data": [model.label(score) for score in scores]},
            {"name": "score", "datatype": "FP64", "shape": shape, "data": scores},
        ],
    }


def model_metadata(model_name: str, model: ServedModel) -> dict[str, Any]:
    """Describe a model's tensors."""
    return {
        "name": model_name,
        "versions": [model.version],
        "platform": PLATFORM,
        "inputs": [_describe_column(column) for column in model.columns],
        "outputs": OUTPUTS,
    }


def _describe_column(column: InputColumn) -> dict[str, Any]:
    return {"name": column.name, "datatype": _DATATYPE_OF[column.type], "shape": [-1]}


def _check_outputs(outputs: Any) -> None:
    if outputs is None:
        return
    names = (
        [output.get("name") if isinstance(output, dict) else None for output in outputs]
        if isinstance(outputs, list)
        else [None]
    )
    if not set(map(str, names)) <= {"label", "score"}:
        raise RequestError(
            "the request asks for an output that the model does not have: ask for label and score, or for none"
        )


def _read_tensor(tensor: Any, i: int, limits: Limits) -> tuple[str, list[Any]]:
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise RequestError(f"tensor {i} has no name: send {{name, shape, datatype, data}}")
    name, datatype, shape, data = tensor["name"][:80], tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    if datatype not in _TYPES:
        raise RequestError(f"tensor {name!r} has an unknown datatype: use BYTES, BOOL, FP64 or INT64")
    if not isinstance(shape, list) or not _is_column(shape):
        raise RequestError(f"tensor {name!r} has no shape of one column: write [n] or [n, 1]", status=422)
    if not isinstance(data, list):
        raise RequestError(f"tensor {name!r} has no list of data", status=422)
    check_number_of_rows(shape[0], limits)
    if data and all(isinstance(value, list) and len(value) == 1 for value in data):
        data = [value[0] for value in data]
    if len(data) != shape[0]:
        raise RequestError(
            f"tensor {name!r} holds {len(data)} values, its shape says {shape[0]}: make them agree", status=422
        )
    allowed = (*_TYPES[datatype], type(None))  # null is a missing value
    if any(type(value) not in allowed for value in data):
        raise RequestError(
            f"tensor {name!r} holds a value that is no {datatype}: correct the value or the datatype", status=422
        )
    return name, data


def _is_column(shape: list[Any]) -> bool:
    return all(type(n) is int and n >= 0 for n in shape) and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))
