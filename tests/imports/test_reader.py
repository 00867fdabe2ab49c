"""Price files as people send them: every row is taken or comes back with its faults."""

from __future__ import annotations

import csv
import io
import string
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.imports import files
from sipsvc.imports.reading import Reading, read
from sipsvc.store.models import Gateway, PriceList
from sipsvc.store.pricefile import PriceFile, Rejected, Row, Unreadable

GATEWAY = Gateway(id="alpha")
LIST = PriceList(id="retail", initial=30, increment=6)
FEED = "name,country,type,prefixes,origin_prefixes,rate_per_min,connection_fee\n"


def reading(content: str | bytes) -> Reading:
    return read(content.encode() if isinstance(content, str) else content, GATEWAY, lambda _: None)


def rejected(content: str) -> list[list[str]]:
    """The rows of the rejected file, its header first."""
    file = reading(content).file
    return [] if file is None else list(csv.reader(io.StringIO(files.unpack(file).decode(), newline="")))


@pytest.mark.rule("TG-7")
def test_both_vocabularies() -> None:
    ours = reading("prefix,name,rate,fee,initial,increment,origin,country,kind\n44,UK,0.01,0.1,30,6,33,GB,M\n").rows
    assert ours == [Row("44", "33", "UK", Decimal("0.01"), Decimal("0.1"), 30, 6, "GB", "M")]
    theirs = reading(FEED + "UK,GB,M,44 447,33 49,0.01,0.1\n").rows
    assert [(row.prefix, row.origin) for row in theirs] == [("44", "33"), ("44", "49"), ("447", "33"), ("447", "49")]
    assert {row[2:9] for row in theirs} == {("UK", Decimal("0.01"), Decimal("0.1"), 1, 1, "GB", "M")}
    usual = reading("Destination,Dial Code,Rate\nUK,44,0.01\n").rows
    assert usual == [Row("44", "", "UK", Decimal("0.01"), Decimal(0), 1, 1)]


@pytest.mark.rule("TP-2")
def test_a_list_gives_its_rows_their_increments() -> None:
    rows = read(b"prefix,name,rate,increment\n44,UK,0.01,\n33,FR,0.01,1\n", LIST, lambda _: None).rows
    assert [(row.initial, row.increment) for row in rows] == [(30, 6), (30, 1)]


FAULTS = [
    ("44 7,UK,0.01,,", "prefix", "44 7", "digits only"),
    ("0044,UK,0.01,,", "prefix", "0044", "never begins with 0"),
    (",UK,0.01,,", "prefix", "", "is empty"),
    ("+44,UK,0.01,,", "prefix", "+44", "digits only"),
    ("1234567890123456789,UK,0.01,,", "prefix", "1234567890123456789", "longer than 18"),
    ('44,UK,"0,01",,', "rate", "0,01", "is not an amount"),
    ("44,UK,,,", "rate", "", "is empty"),
    ("44,UK,-1,,", "rate", "-1", "must not be negative"),
    ("44,UK,0.0000001,,", "rate", "0.0000001", "more than 6 decimal places"),
    ("44,UK,1e3,,", "rate", "1e3", "is not an amount"),
    ("44,UK,0.01,XX1,", "country", "XX1", "two capital letters"),
    ("44,UK,0.01,,mobile", "type", "mobile", "L (landline)"),
    ("44,UK\x07,0.01,,", "name", "UK\x07", "control character U+0007"),
]


@pytest.mark.parametrize(("line", "column", "value", "why"), FAULTS)
@pytest.mark.rule("TG-7")
def test_a_fault_names_row_column_value_and_reason(line: str, column: str, value: str, why: str) -> None:
    found = reading(f"prefix,name,rate,country,type\n33,France,0.02,FR,L\n{line}\n49,Germany,0.02,DE,L\n")
    assert [row.prefix for row in found.rows] == ["33", "49"]
    assert found.rejected == 1
    (fault,) = found.faults
    assert (fault["row"], fault["column"], fault["value"]) == (3, column, value)
    assert why in str(fault["reason"])


@pytest.mark.rule("TG-7")
def test_an_unquoted_comma_shifts_nothing() -> None:
    found = reading("name,prefix,rate\nKorea, North,850,0.5\nFrance,33,0.02\n")
    assert [(row.prefix, row.name) for row in found.rows] == [("33", "France")]
    assert found.faults[0]["reason"] == "has 4 cells, the first row has 3"


def test_one_bad_prefix_rejects_its_row_whole() -> None:
    found = reading(FEED + "UK,GB,M,44 0447 448,,0.01,0\nFR,FR,L,33 448,,0.01,0\n")
    assert [row.prefix for row in found.rows] == ["33", "448"]
    assert found.rejected == 1


@pytest.mark.parametrize(
    ("text", "taken", "why"),
    [
        ("prefix,name,rate\n44,A,1\n44,B,2\n", ["44"], "with origin any already stands in row 2"),
        ("prefix,name,rate,origin\n44,A,1,33\n44,B,2,33\n", ["44"], "with origin 33 already stands in row 2"),
        (FEED + "A,GB,M,44 45,,1,0\nB,GB,M,46 45,,1,0\nC,GB,M,46,,1,0\n", ["44", "45", "46"], "stands in row 2"),
        (FEED + "A,GB,M,44 44,,1,0\n", [], "stands twice in this row"),
    ],
)
def test_what_stands_twice_is_rejected_where_it_stands_later(text: str, taken: list[str], why: str) -> None:
    found = reading(text)
    assert [row.prefix for row in found.rows] == taken
    assert found.rejected == 1
    assert why in str(found.faults[0]["reason"])


@pytest.mark.rule("TG-7")
def test_rejected_rows_come_back_to_be_corrected() -> None:
    text = 'name,prefix,rate\nFrance,33,0.02\n"Korea, North",O850,0.5\nNo such,,x\nKorea, South,82,1\n'
    table = rejected(text)
    assert table[0] == ["fault", "name", "prefix", "rate"]
    assert [row[1:] for row in table[1:]] == [
        ["Korea, North", "O850", "0.5"],
        ["No such", "", "x"],
        ["Korea", " South", "82", "1"],
    ]
    assert table[1][0] == "row 3: prefix: must be digits only, at least one"
    assert table[2][0].startswith("row 4: rate: is not an amount") and "; prefix: is empty" in table[2][0]
    table[1][2], table[2] = "850", ["was bad", "Nowhere", "999", "0"]
    corrected = io.StringIO(newline="")
    csv.writer(corrected).writerows(table)
    again = reading(corrected.getvalue())
    assert [(row.name, row.prefix) for row in again.rows] == [("Korea, North", "850"), ("Nowhere", "999")]
    assert again.rejected == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"prefix,name\n44,UK\n", "column rate is missing"),
        (b"prefix,name,rate,colour\n", "unknown column"),
        (b"prefix,name,rate,prefix\n", "stands twice"),
        (b"prefix,prefixes,name,rate\n", "stands twice"),
        (b"prefix,name,rate,source_row\n", "unknown column"),
        (b"prefix,name,rate\n44,C\xf4te,1\n", "'byte 21 in line 2' is not UTF-8"),
        (b'prefix,name,rate\n33,a,1\n44,"b,1\n', "row 3 is not CSV"),
        (b'prefix,name,rate\n44,"b"c,1\n', "row 2 is not CSV"),
        ("prefix,name,rate\n44,UK,1\n".encode("utf-16"), "is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_at_all(content: bytes, why: str) -> None:
    with pytest.raises(Unreadable) as caught:
        reading(content)
    assert why in str(caught.value)


def test_progress_is_told_to_the_end() -> None:
    told: list[int] = []
    lines = "".join(f"{number},x,1\n" for number in range(10_000, 40_000))
    read(f"prefix,name,rate\n{lines}".encode(), GATEWAY, told.append)
    assert told == sorted(told) and told[-1] == 100 and len(told) > 3


# What a cell may hold once it is quoted. A field that is only spaces would be stripped.
TEXT = st.text(st.sampled_from(string.ascii_letters + ' ,"\n\r;é中'), max_size=12).map(str.strip)
PREFIXES = st.from_regex(r"[1-9][0-9]{0,9}", fullmatch=True)
RATES = st.decimals(0, 1000, places=6, allow_nan=False, allow_infinity=False)


@st.composite
def sheets(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str, Decimal]]]:
    """A file in any order of columns, line ends and quoting, with what it says."""
    rows = draw(st.lists(st.tuples(PREFIXES, TEXT, RATES), max_size=8, unique_by=lambda row: row[0]))
    rows = [(prefix, name.replace("\r", "").replace("\n", " "), rate) for prefix, name, rate in rows]
    order = draw(st.permutations(["prefix", "name", "rate"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=quoting, lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])))
    writer.writerow(draw(st.sampled_from([str.lower, str.upper, str.title]))(name) for name in order)
    for prefix, name, rate in rows:
        cells = {"prefix": prefix, "name": name, "rate": f"{rate:f}"}
        writer.writerow(cells[column] for column in order)
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return mark + file.getvalue().encode(), rows


@pytest.mark.rule("TG-7")
@given(sheets())
def test_any_sheet_is_read_as_it_was_written(sheet: tuple[bytes, list[tuple[str, str, Decimal]]]) -> None:
    content, written = sheet
    found = reading(content)
    assert [(row.prefix, row.name, row.rate) for row in found.rows] == written
    assert not found.rejected


@given(
    st.lists(st.lists(st.sampled_from(["44", "33", "x", "0.5", "UK", "", '"', "a,b", "7\n7"]), max_size=5), max_size=9)
)
def test_no_row_is_lost(lines: list[list[str]]) -> None:
    """Each row of the file is among the rows or the rejected, in its place."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["prefix", "name", "rate"], *lines])
    parsed = list(csv.reader(io.StringIO(file.getvalue(), newline="")))[1:]
    back: list[Rejected] = []
    taken = list(PriceFile(file.getvalue().encode(), 1, 1).rows(back.append))
    numbers = {row.number for row in back}
    kept = [cells for number, cells in enumerate(parsed, 2) if cells and number not in numbers]
    assert [[row.prefix, row.name] for row in taken] == [[cells[0], cells[1].strip()] for cells in kept]
    assert len(taken) + len(back) == sum(1 for cells in parsed if cells)
    for row in back:
        assert row.cells == parsed[row.number - 2] and row.faults


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        prefixes = [row.prefix for row in reading(b"prefix,name,rate\n" + content).rows]
    except Unreadable as error:
        prefixes = []
        reason = str(error)
    else:
        reason = "read"
    assert reason and all(prefix.isdigit() for prefix in prefixes)
