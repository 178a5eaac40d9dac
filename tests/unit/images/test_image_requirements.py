"""Requirements: pinned and hashed, or refused; equal ones have one key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import ImageError
from fumehood.images.requirements import key, parse

A, B = "a" * 64, "b" * 64
GOOD = f"""# a comment
PyYAML==6.0.2 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
jmespath == 1.0.1 ; python_version >= "3.8" --hash=sha256:{A}  # why
requests[socks,security]==2.32.0+local.1 --hash=sha256:{B}
"""


def test_the_strict_part_of_the_format_is_read() -> None:
    assert [item.text for item in parse(GOOD)] == [
        'jmespath == 1.0.1 ; python_version >= "3.8"',
        "PyYAML==6.0.2",
        "requests[socks,security]==2.32.0+local.1",
    ]
    assert parse(GOOD)[1].hashes == (A, B)


def test_the_key_ignores_order_comments_and_line_breaks() -> None:
    one = f"b==1 --hash=sha256:{A}\na==2 --hash=sha256:{B} --hash=sha256:{A}\n"
    two = f"# x\na==2 --hash=sha256:{A} \\\n --hash=sha256:{B}\nb==1   --hash=sha256:{A}"
    assert key(parse(one)) == key(parse(two))
    assert key(parse(one)) != key(parse(one.replace("b==1", "b==2")))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "0 of them"),
        ("# only this\n", "0 of them"),
        ("a==1\n", "no hash"),
        (f"a==1 --hash=md5:{A}", "not sha256"),
        (f"a==1 --hash=sha256:{A} --hash=sha512:{A}", "not sha256"),
        (f"a>=1 --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"a==1.* --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"a --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"-r other.txt --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"--index-url=http://x\na==1 --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"--extra-index-url http://x --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"-e . --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"a @ http://x/a.whl --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"./a.whl --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"a==1 --config-settings=x --hash=sha256:{A}", "is not NAME==VERSION"),
        (f"a==1 --hash=sha256:{A} --no-binary=a", "not sha256"),
        (f"a_b==1 --hash=sha256:{A}\nA-b==1 --hash=sha256:{A}", "is there twice"),
        (f"a==1 --hash=sha256:{A} \\", "ends after a backslash"),
        ("\n".join(f"a{i}==1 --hash=sha256:{A}" for i in range(501)), "501 of them"),
        ("#" * 300_000, "more than"),
    ],
)
def test_anything_else_is_refused(text: str, cause: str) -> None:
    with pytest.raises(ImageError, match=cause):
        parse(text)


def test_an_error_names_the_line_where_the_requirement_begins() -> None:
    with pytest.raises(ImageError, match="line 3"):
        parse(f"a==1 --hash=sha256:{A}\n\nb==1 \\\n  --hash=x\n")


@given(st.text(alphabet="a=1-#\\ \n[];@:/", max_size=200))
def test_nothing_crashes_it(text: str) -> None:
    try:
        found = parse(text)
    except ImageError:
        return
    assert all(item.hashes for item in found)


@pytest.mark.parametrize(
    ("marker", "name"),
    [
        ("nosuch == '1'", "nosuch"),
        ('python_version > "3" and (os_nam == "posix")', "os_nam"),
        ("extra == 'more'", "extra"),
    ],
)
def test_an_unknown_variable_of_a_marker_is_named(marker: str, name: str) -> None:
    with pytest.raises(ImageError, match=f"line 1: '{name}' is no variable of a marker"):
        parse(f"a==1 ; {marker} --hash=sha256:{A}\n")


def test_every_variable_that_pip_knows_is_taken() -> None:
    markers = (
        "python_version >= '3.8' and sys_platform in 'linux x'",
        "'linux' not in sys.platform or platform_machine == 'x86_64'",
        "(implementation_name == 'cpython') and os_name == \"nosuch 'thing'\"",
    )
    for marker in markers:
        (one,) = parse(f"a==1 ; {marker} --hash=sha256:{A}\n")
        assert one.text.endswith(marker)
