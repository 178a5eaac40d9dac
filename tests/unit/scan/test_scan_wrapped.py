"""Text that is encoded in lines of any length, or byte by byte, is read."""

from __future__ import annotations

import base64
import textwrap

import pytest

from fumehood.scan import decoding
from support.scan import github_token, letters

TEXT = f"# notes of staging\nregion=eu-west-1\ntoken: {github_token()}\nowner=ann, no more\n"


def read(data: str) -> bytes:
    return b"\n".join(blob.data for blob in decoding.blobs(data.encode()))


@pytest.mark.parametrize("width", [20, 24, 30, 32, 40, 50, 60, 64, 70, 76])
@pytest.mark.parametrize("indent", ["", "  ", "\t"])
def test_base64_is_read_in_lines_of_any_length(width: int, indent: str) -> None:
    lines = textwrap.wrap(base64.b64encode(TEXT.encode()).decode(), width)
    text = "before\n" + "".join(f"{indent}{line}\n" for line in lines) + "after\n"
    assert TEXT.encode() in read(text)
    (blob,) = (b for b in decoding.blobs(text.encode()) if TEXT.encode() in b.data)
    assert text[blob.start : blob.end].strip().startswith(lines[0])
    assert text[: blob.end].rstrip().endswith(lines[-1])


@pytest.mark.parametrize("join", [" ", ":", "-", ", ", ": "])
@pytest.mark.parametrize("form", ["02x", "02X"])
def test_hexadecimal_is_read_byte_by_byte(join: str, form: str) -> None:
    digits = join.join(f"{byte:{form}}" for byte in TEXT.encode())
    assert TEXT.encode() in read(f"bytes: {digits} end")


def test_hexadecimal_is_read_over_lines_and_as_code_has_it() -> None:
    digits = [f"{byte:02x}" for byte in TEXT.encode()]
    rows = [" ".join(digits[at : at + 16]) for at in range(0, len(digits), 16)]
    assert TEXT.encode() in read("\n".join(rows))
    assert TEXT.encode() in read("{" + ", ".join(f"0x{byte}" for byte in digits) + "}")


@pytest.mark.parametrize(
    "text",
    [
        "  Magic:   7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00",
        "00:1a:2b:3c:4d:5e and 52:54:00:12:34:56", "20 21 22 23 24", "10:20:30 11:21:31",
        "\n".join(letters(24, "abcdefghijklmnop") for _ in range(40)),
    ],
)  # fmt: skip
def test_what_is_no_encoded_text_is_read_as_none(text: str) -> None:
    assert read(text) == b""


def test_many_lines_that_hold_nothing_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line looks like a beginning; what one of them costs must not grow with all others."""
    lines = [
        base64.b64encode(b"plain words and" if n % 9 == 0 else b"\x01" * 15) for n in range(900)
    ]
    looked: list[int] = []
    first_line = decoding._first_line

    def counted(data: bytes, start: int, size: int) -> int:
        looked.append(start)
        return first_line(data, start, size)

    monkeypatch.setattr(decoding, "_first_line", counted)
    list(decoding.blobs(b"\n".join(lines)))
    assert len(looked) == 1
