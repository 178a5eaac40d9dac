"""Tokens that begin in a way that only their provider has."""

from __future__ import annotations

import pytest

from fumehood.scan import tokens

TOKENS = tokens.detector()
TAIL = "q7Zr2Lk9Xw4Tn8Vb1Ms6Hd3Gf5"
HEX = "9f86d081884c7d659a2feaa0c55ad015"


@pytest.mark.parametrize(
    "token",
    [
        f"access-production-{HEX[:8]}-{HEX[8:12]}-{HEX[12:16]}-{HEX[16:20]}-{HEX[20:]}",
        f"FLWSECK-{HEX}-X", f"2/1200000000000001/1200000000000002:{HEX}", f"aio_{TAIL}Qw",
        f"rzp_live_{TAIL[:14]}", f"tfp_{TAIL}{TAIL[:14]}_{TAIL[:14]}", f"pk_12345678_{HEX.upper()}",
        f"y0_AgAAAA{TAIL}{TAIL[:23]}", f"lin_oauth_{HEX}{HEX}", f"newprovider_sk_{TAIL}",
        f"acme_live_{TAIL}", f"{TAIL}{TAIL}{TAIL[:24]}ACDbAb1c==",
    ],
)  # fmt: skip
@pytest.mark.parametrize("frame", ["see {} there", '{{"v": "{}"}}', "a={}"])
def test_a_token_is_told_by_its_beginning_or_its_mark(token: str, frame: str) -> None:
    data = frame.format(token).encode()
    found = TOKENS.find(data, seconds=5)
    assert token.encode().rstrip(b"=") in {data[m.start : m.end].rstrip(b"=") for m in found}


@pytest.mark.parametrize(
    "text",
    [
        f"pk_live_{TAIL}", f"sha256-{TAIL}{TAIL}", f"prod-{HEX}", f"image:live-{HEX}{HEX[:8]}",
        "def test_keywords_with_otypes_several_kwd_args1(self):",
        "live_reload_of_modules_with_python3_and_more",
        f"api-{HEX}", "sl.unit.test.of.many.modules",
        f"AIDA{HEX.upper()[:16]}", f"acme_public_key_{TAIL}",
    ],
)  # fmt: skip
def test_what_is_public_or_a_name_is_left_alone(text: str) -> None:
    found = TOKENS.find(text.encode(), seconds=5)
    assert [m for m in found if m.confidence != "low"] == []
