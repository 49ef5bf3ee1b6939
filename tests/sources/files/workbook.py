"""Write small .xlsx files by hand: the project needs no library that writes them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
PARTS = {
    "[Content_Types].xml": f'{HEAD}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": f'{HEAD}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{RELATION}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/styles.xml": f'{HEAD}<styleSheet xmlns="{MAIN}"><cellXfs count="2"><xf numFmtId="0"/><xf '
    'numFmtId="22"/></cellXfs></styleSheet>',
}


class Raw(str):
    """A cell as XML, without its reference: `<c>` is written around the attributes and content `t="e"><v>#N/A</v>`."""


def workbook(
    sheets: dict[str, Sequence[Sequence[Any]]], *, sheet_xml: dict[str, str] | None = None, first_row: int = 1
) -> bytes:
    """Return a workbook's bytes; `sheet_xml` replaces what a sheet's member holds."""
    links = "".join(
        f'<Relationship Id="s{i}" Type="{RELATION}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    links += f'<Relationship Id="styles" Type="{RELATION}/styles" Target="styles.xml"/>'
    names = "".join(
        f'<sheet name="{escape(name)}" sheetId="{i}" r:id="s{i}"/>' for i, name in enumerate(sheets, start=1)
    )
    members = {
        **PARTS,
        "xl/workbook.xml": f'{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{RELATION}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f"{HEAD}<Relationships "
        f'xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{links}</Relationships>',
    }
    for i, (name, rows) in enumerate(sheets.items(), start=1):
        members[f"xl/worksheets/sheet{i}.xml"] = (sheet_xml or {}).get(name) or sheet_of(rows, first_row=first_row)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 5, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def sheet_of(rows: Sequence[Sequence[Any]], *, first_row: int = 1) -> str:
    lines = []
    for number, cells in enumerate(rows, start=first_row):
        lines.append(
            f'<row r="{number}">'
            + "".join(_cell(f"{chr(65 + i)}{number}", cell) for i, cell in enumerate(cells))
            + "</row>"
        )
    return f'{HEAD}<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'


def _cell(reference: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Raw):
        return f'<c r="{reference}" {value}</c>'
    if isinstance(value, bool):
        return f'<c r="{reference}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, datetime):
        days = (value - datetime(1899, 12, 30)).total_seconds() / 86_400
        return f'<c r="{reference}" s="1"><v>{days!r}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{reference}"><v>{value!r}</v></c>'
    return f'<c r="{reference}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
