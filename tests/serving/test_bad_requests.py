"""Every malformed request gets a clear 4xx in JSON; none gets a 500, a traceback, or the process."""

from __future__ import annotations

import json
import socket
import time

import pytest

from tests.serving.endpoints import AUTHORIZED, PARCEL, ThreadEndpoint

JSON = {"content-type": "application/json"}
CSV = {"content-type": "text/csv"}
V2 = "/v2/models/parcels/infer"


def _row(**changes: object) -> bytes:
    return json.dumps({**PARCEL, **changes}).encode()


def _tensor(**changes: object) -> bytes:
    tensor = {"name": "distance_km", "shape": [1], "datatype": "FP64", "data": [3.5], **changes}
    return json.dumps({"inputs": [tensor]}).encode()


BAD_BODIES = [
    ("empty", JSON, b"", 400, "empty"),
    ("no json", JSON, b"depot=east", 400, "not JSON"),
    ("cut short", JSON, b'{"depot": "ea', 400, "not JSON"),
    ("not utf-8", JSON, b'{"depot": "\xff"}', 400, "UTF-8"),
    ("NaN", JSON, b'{"distance_km": NaN}', 400, "not JSON"),
    ("Infinity", JSON, b'{"distance_km": -Infinity}', 400, "not JSON"),
    ("huge exponent", JSON, b'{"distance_km": 1e999}', 400, "not JSON"),
    ("200k brackets", JSON, b"[" * 200_000, 400, "not JSON"),
    ("200k objects", JSON, b'{"a":' * 40_000, 400, "not JSON"),
    ("too deep", JSON, b"[" * 30 + b"]" * 30, 422, "deeper than 16"),
    ("deep in an unknown column", JSON, _row(note=json.loads("[" * 20 + "]" * 20)), 422, "deeper than 16"),
    ("a number", JSON, b"3", 422, "JSON number"),
    ("null", JSON, b"null", 422, "JSON null"),
    ("no rows", JSON, b"[]", 422, "no rows"),
    ("rows are lists", JSON, b"[[1, 2]]", 422, "row 0 is a list"),
    ("text for a number", JSON, _row(distance_km="far"), 422, "'distance_km' is a number"),
    ("number for text", JSON, _row(depot=3), 422, "'depot' is a text"),
    ("object for a number", JSON, _row(distance_km={"a": 1}), 422, "'distance_km'"),
    ("no time", JSON, _row(sent_at="yesterday"), 422, "ISO 8601"),
    ("no known column", JSON, b'{"colour": "red"}', 422, "none of the model's columns"),
    (
        "second row wrong",
        JSON,
        json.dumps([PARCEL, {**PARCEL, "weight_kg": "heavy"}]).encode(),
        422,
        "row 1: column 'weight_kg'",
    ),
    ("the feature function fails", JSON, _row(sent_at=None), 422, "no features can be made"),
    ("1,001 rows", JSON, json.dumps([{"depot": "east"}] * 1_001).encode(), 413, "1,000 rows"),
    ("2 MiB", JSON, b'{"depot": "' + b"x" * 2_000_000 + b'"}', 413, "1,048,576 bytes"),
    ("form", {"content-type": "application/x-www-form-urlencoded"}, b"a=1", 415, "application/json nor text/csv"),
    ("no content type", {}, b"{}", 415, "application/json nor text/csv"),
    ("compressed", {**JSON, "content-encoding": "gzip"}, b"\x1f\x8b", 415, "Content-Encoding"),
    ("csv without header", CSV, b"east,3.5\n", 400, "header"),
    ("csv short row", CSV, b"depot,distance_km\neast\n", 400, "line 2 has 1 cells"),
    ("csv header only", CSV, b"depot,distance_km\n", 422, "no rows"),
    ("csv twice a column", CSV, b"depot,depot\na,b\n", 400, "twice"),
    ("csv stray quote", CSV, b'depot,distance_km\n"ea"st,3\n', 400, "line 2"),
    ("csv not utf-8", CSV, b"depot\n\xe9\n", 400, "UTF-8"),
    ("csv empty", CSV, b"", 400, "header"),
    ("csv word for a number", CSV, b"depot,distance_km\neast,far\n", 422, "'distance_km'"),
    ("csv nan", CSV, b"depot,distance_km\neast,nan\n", 422, "'distance_km'"),
    ("csv too many rows", CSV, b"depot\n" + b"east\n" * 1_001, 413, "1,000 rows"),
]

BAD_TENSORS = [
    ("no tensors", b"{}", 400, "tensors"),
    ("tensor without name", _tensor(name=None), 400, "tensor 0 has no name"),
    ("unknown datatype", _tensor(datatype="FP128"), 400, "datatype"),
    ("a matrix", _tensor(shape=[1, 2]), 422, "shape"),
    ("data is no list", _tensor(data=3.5), 422, "no list of data"),
    ("too few values", _tensor(shape=[2]), 422, "holds 1 values"),
    ("text in numbers", _tensor(data=["3.5"]), 422, "no FP64"),
    ("boolean in integers", _tensor(datatype="INT64", data=[True]), 422, "no INT64"),
    ("bad id", json.dumps({"id": "a\nb", "inputs": [{}]}).encode(), 400, "id"),
    ("twice", json.dumps({"inputs": [json.loads(_tensor())["inputs"][0]] * 2}).encode(), 400, "twice"),
    ("unknown output", json.dumps({**json.loads(_tensor()), "outputs": [{"name": "margin"}]}).encode(), 400, "output"),
    ("no rows", _tensor(shape=[0], data=[]), 422, "no rows"),
]


@pytest.mark.parametrize(
    ("headers", "body", "status", "words"), [case[1:] for case in BAD_BODIES], ids=[case[0] for case in BAD_BODIES]
)
def test_bad_body_is_refused_clearly(
    linear: ThreadEndpoint, headers: dict[str, str], body: bytes, status: int, words: str
) -> None:
    reply = linear.ask("POST", "/invocations", body, headers)
    assert reply.status == status
    assert words in reply.message
    assert "Traceback" not in reply.message
    assert linear.get("/ping").status == 200


@pytest.mark.parametrize(
    ("body", "status", "words"), [case[1:] for case in BAD_TENSORS], ids=[case[0] for case in BAD_TENSORS]
)
def test_bad_tensors_are_refused_in_the_protocols_form(
    linear: ThreadEndpoint, body: bytes, status: int, words: str
) -> None:
    reply = linear.ask("POST", V2, body, JSON)
    assert reply.status == status
    assert words in reply.content["error"]


def test_a_good_row_passes_where_the_bad_ones_did_not(linear: ThreadEndpoint) -> None:
    """The control: these tests would mean nothing if everything was refused."""
    assert linear.ask("POST", "/invocations", _row(), JSON).status == 200
    assert (
        linear.ask("POST", "/invocations", b"depot,distance_km,sent_at\neast,,2026-01-06T09:30:00Z\n", CSV).status
        == 200
    )


@pytest.mark.parametrize("path", ["/", "/v2/models/other", "/invocations/", "/v2/models/parcels/versions/99", "/%00"])
def test_unknown_route(linear: ThreadEndpoint, path: str) -> None:
    assert linear.get(path).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("GET", "/invocations", "POST"), ("DELETE", "/ping", "GET"), ("PUT", V2, "POST")]
)
def test_wrong_method_names_the_right_one(linear: ThreadEndpoint, method: str, path: str, allow: str) -> None:
    reply = linear.ask(method, path)
    assert (reply.status, reply.headers["allow"]) == (405, allow)


def _exchange(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
        return answer


def test_body_without_length_is_bounded_too(linear: ThreadEndpoint) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = (
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answer = _exchange(linear.port, head, *[chunk] * 40, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"1,048,576 bytes" in answer


def test_a_client_that_ignores_a_413_still_gets_to_read_it(linear: ThreadEndpoint) -> None:
    head = (
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 30000000\r\n\r\n"
    )
    answer = _exchange(linear.port, head, *[b" " * 1_000_000] * 30)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("value", "is_kept"), [("order-17.a_B", True), ("a b", False), ("x" * 65, False), ("ü", False)]
)
def test_request_id_is_kept_only_if_plain(linear: ThreadEndpoint, value: str, is_kept: bool) -> None:
    reply = linear.post("/invocations", PARCEL, {"x-request-id": value.encode().decode("latin-1")})
    assert (reply.headers["x-request-id"] == value) is is_kept
    assert reply.headers["x-request-id"] == reply.content["request_id"]


@pytest.mark.parametrize("path", ["stage", "unstage", "switch", "roll_back", "flush"])
def test_admin_routes_need_the_token(linear: ThreadEndpoint, path: str) -> None:
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": AUTHORIZED["authorization"][:-1]},
        {"authorization": "Bearer ü"},
    ):
        reply = linear.post(f"/admin/{path}", {"version": "1"}, headers)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert linear.get("/admin/status").status == 401
    assert linear.post("/invocations", PARCEL, {"x-updraft-slot": "staged"}).status == 401
