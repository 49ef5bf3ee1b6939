"""
The endpoint's own description: an OpenAPI document made from the columns of the model that serves, and a page that
shows it.
"""

from __future__ import annotations

import html
import json
from typing import Any

from include.modeling.schema import InputColumn
from include.serving.served_model import ServedModel

_SCHEMA_OF: dict[str, dict[str, Any]] = {
    "number": {"type": ["number", "null"]},
    "text": {"type": ["string", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "timestamp": {"type": ["string", "null"], "format": "date-time"},
}
_EXAMPLE_OF: dict[str, Any] = {"number": 1, "text": "text", "boolean": True, "timestamp": "2026-11-23T09:30:00Z"}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {"type": "object", "properties": {"code": {"type": "string"}, "message": {"type": "string"}}}
    },
}


def describe_api(name: str, model: ServedModel) -> dict[str, Any]:
    """
    Describe how to ask a model, in OpenAPI 3.1.

    Parameters
    ----------
    name : str
        Of the workflow.
    model : ServedModel
        Whose columns the requests hold.

    """
    record = {"type": "object", "properties": {column.name: _schema(column) for column in model.columns}}
    example = {column.name: _EXAMPLE_OF[column.type] for column in model.columns}
    label = {
        "type": ["boolean", "null"],
        "description": "whether the score counts as positive; null where a number is predicted",
    }
    prediction = {"type": "object", "properties": {"label": label, "score": {"type": "number"}}}
    answer = {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "request_id": {"type": "string"},
            "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
        },
    }
    several = {
        "type": "object",
        "properties": {"instances": {"type": "array", "items": {"$ref": "#/components/schemas/Record"}}},
    }
    record_or_many = {"oneOf": [{"$ref": "#/components/schemas/Record"}, several]}
    refused = {"description": "refused, with the reason", "content": _json({"$ref": "#/components/schemas/Error"})}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": model.version,
            "description": f"Version {model.version} of {name} ({model.family}), as of {model.as_of}.",
        },
        "paths": {
            "/invocations": {
                "post": {
                    "summary": "Predict: one record, or several",
                    "requestBody": {
                        "required": True,
                        "content": {
                            **_json(record_or_many, example=example),
                            "text/csv": {"schema": {"type": "string"}},
                        },
                    },
                    "responses": {
                        "200": {
                            "description": "predictions",
                            "content": _json({"$ref": "#/components/schemas/Answer"}),
                        },
                        **{status: refused for status in ("400", "413", "415", "422", "429", "503")},
                    },
                }
            },
            "/version": {
                "get": {"summary": "Which version answers", "responses": {"200": {"description": "version and digest"}}}
            },
            "/ping": {
                "get": {
                    "summary": "200 once a model serves",
                    "responses": {"200": {"description": "ready"}, "503": refused},
                }
            },
            f"/v2/models/{name}": {
                "get": {
                    "summary": "Metadata (Open Inference Protocol 2)",
                    "responses": {"200": {"description": "tensors"}},
                }
            },
            f"/v2/models/{name}/infer": {
                "post": {
                    "summary": "Predict (Open Inference Protocol 2)",
                    "responses": {"200": {"description": "tensors"}},
                }
            },
        },
        "components": {"schemas": {"Record": record, "Prediction": prediction, "Answer": answer, "Error": _ERROR}},
    }


def write_page(name: str, model: ServedModel) -> str:
    """Write the description as one HTML page that needs nothing else: no script, no other host."""
    api = describe_api(name, model)
    example = json.dumps({column.name: _EXAMPLE_OF[column.type] for column in model.columns})
    columns = "".join(f"<tr><td><code>{html.escape(c.name)}</code></td><td>{c.type}</td></tr>" for c in model.columns)
    routes = "".join(
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td><td>{html.escape(said['summary'])}</td></tr>"
        for path, methods in api["paths"].items()
        for method, said in methods.items()
    )
    quoted = example.replace("'", "'\\''")
    command = f"curl -s \"$ENDPOINT/invocations\" -H 'Content-Type: application/json' -d '{quoted}'"
    return (
        "<!doctype html><html lang='en'><head><meta "
        f"charset='utf-8'><title>{html.escape(name)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{html.escape(name)}</h1><p>{html.escape(api['info']['description'])} <a "
        "href='/openapi.json'>openapi.json</a></p>"
        f"<h2>Routes</h2><table>{routes}</table><h2>Ask</h2><pre>{html.escape(command)}</pre>"
        "<p>Absent columns are missing values; several records go under <code>instances</code>; CSV with a header is "
        "taken too.</p>"
        f"<h2>Columns</h2><table>{columns}</table></body></html>"
    )


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1d2733}"
    "table{border-collapse:collapse;width:100%}td{border-bottom:1px solid #dde3ea;padding:.3rem .6rem}"
    "pre{background:#f3f5f8;padding:.8rem;white-space:pre-wrap;word-break:break-all}"
)


def _schema(column: InputColumn) -> dict[str, Any]:
    return {"type": ["integer", "null"]} if column.is_integer and column.type == "number" else _SCHEMA_OF[column.type]


def _json(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **more}}
