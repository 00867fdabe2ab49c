"""Messages between feed and worker, and the files of compiled tables."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from sipsvc.directory import Image
from sipsvc.directory.image import ImageError, compile_image
from sipsvc.feed.images import Images, Name, mapped, parse_name
from sipsvc.feed.line import PACKET, Joiner, Line, LineClosed, packets, pair

IMAGE = compile_image([(1, "44", "", "UK", 10_000, 0, 60, 60, 0, 1 << 60)])


@pytest.mark.parametrize("size", [0, 1, PACKET - 20, PACKET, 3 * PACKET])
def test_a_message_of_any_size_comes_through_in_packets(size: int) -> None:
    message: dict[str, Any] = {"put": "x" * size}
    ours, theirs = pair()
    sender = threading.Thread(target=lambda: Line(theirs).send(message))
    sender.start()
    assert Line(ours).receive(10) == message
    sender.join()
    assert all(len(packet) <= PACKET + 1 for packet in packets(message))
    ours.close()
    theirs.close()


def test_joiner_gives_each_message_once() -> None:
    joiner = Joiner()
    first, second = {"a": "x" * PACKET}, {"b": 1}
    got = [joiner.add(packet) for message in (first, second) for packet in packets(message)]
    assert [message for message in got if message is not None] == [first, second]


def test_the_other_side_gone_is_said() -> None:
    ours, theirs = pair()
    line = Line(ours)
    assert line.receive(0.01) is None
    theirs.close()
    with pytest.raises(LineClosed):
        line.receive(10)
    with pytest.raises(LineClosed):
        line.send({"a": 1})
    ours.close()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("gateway.alpha.7.image", Name("gateway", "alpha", 7)),
        ("pricelist.a.b-c.12.image", Name("pricelist", "a.b-c", 12)),
        ("pricelist.a.image", None),
        ("gateway.alpha.x.image", None),
        ("gateway.alpha.7", None),
        ("gateway.alpha.7.image.123", None),
        ("", None),
    ],
)
def test_names_of_images(text: str, name: Name | None) -> None:
    assert parse_name(text) == name
    if name is not None:
        assert str(name) == text


@pytest.mark.parametrize("owner", ["", "../etc", "a/b", "ä"])
def test_an_owner_that_is_no_file_name_is_refused(owner: str) -> None:
    with pytest.raises(ValueError, match="cannot have a file"):
        str(Name("gateway", owner, 1))


def test_the_newest_whole_image_is_found_and_the_others_go(tmp_path: Path) -> None:
    images = Images(tmp_path / "tables")
    assert images.newest(("gateway", "a")) is None
    for owner, version in (("a", 1), ("a", 9), ("a", 10), ("b", 3)):
        images.write(Name("gateway", owner, version), IMAGE)
    (tmp_path / "tables" / "gateway.a.11.image").write_bytes(IMAGE[:-1])
    (tmp_path / "tables" / "gateway.a.12.image").write_bytes(b"")
    (tmp_path / "tables" / "gateway.c.1.image.99").write_bytes(b"half")
    again = Images(tmp_path / "tables")
    assert again.newest(("gateway", "a")) == Name("gateway", "a", 10)
    again.keep({("gateway", "a"): 10}, only=False)
    there = {path.name for path in (tmp_path / "tables").iterdir()}
    assert there == {"gateway.a.10.image", "gateway.b.3.image", "gateway.c.1.image.99"}
    again.keep({("gateway", "a"): 10}, only=True)
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["gateway.a.10.image"]


def test_a_file_is_mapped_and_stays_when_it_is_removed(tmp_path: Path) -> None:
    images = Images(tmp_path)
    name = Name("pricelist", "retail", 2)
    images.write(name, IMAGE)
    image = Image(mapped(tmp_path / str(name)))
    images.keep({}, only=True)
    row = image.find("441", "", 0)
    assert row is not None
    assert (row.id, row.name) == (1, "UK")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ImageError):
        mapped(tmp_path / "empty")
