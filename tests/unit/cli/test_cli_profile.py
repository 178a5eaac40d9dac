"""`fumehood profile`: what needs no daemon."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import typer

from fumehood.cli import profile
from fumehood.resources import profile_directory
from support.cli import Cli

STRICT = profile_directory() / "strict.json"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("{}")
    monkeypatch.setenv("FUMEHOOD_CONFIG", str(path))
    return path


@pytest.mark.usefixtures("config")
def test_list_names_the_shipped_ones(cli: Cli) -> None:
    ended = cli("profile", "list", "--json")
    assert ended.status == 0
    entries = {entry["name"]: entry for entry in json.loads(ended.out)}
    assert set(entries) == {"compute", "network", "strict"}
    assert entries["strict"]["origin"] == "shipped"
    assert entries["strict"]["digest"].startswith("sha384:")
    assert "compute" in cli("profile", "list").out


@pytest.mark.usefixtures("config")
def test_show_prints_every_reason(cli: Cli) -> None:
    said = cli("profile", "show", "strict")
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.startswith("ANSWER"))
    reasons = " ".join(line[lines[head].index("WHY") :].strip() for line in lines[head:])
    calls = " ".join(said.out.split())
    for group in json.loads(STRICT.read_text())["syscalls"]:
        assert group.get("comment", "") in reasons
        assert all(name in calls for name in group["names"])
    assert max(len(line) for line in lines[head:]) <= 170
    document = json.loads(cli("profile", "show", "strict", "--json").out)["document"]
    assert document == json.loads(STRICT.read_text())


@pytest.mark.usefixtures("config")
def test_an_unknown_name_is_a_usage_error(cli: Cli) -> None:
    ended = cli("profile", "show", "stirct")
    assert ended.status == 2
    assert "strict" in ended.err


def test_check_compiles_for_every_abi(cli: Cli) -> None:
    (entry,) = json.loads(cli("profile", "check", str(STRICT), "--json").out)
    assert set(entry["instructions"]) == {"x86_64", "aarch64"}
    assert "fine" in cli("profile", "check", str(STRICT)).out


RISKY = {
    "by name": (["bpf", "read"], []),
    "by an argument": (["keyctl", "read"], [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]),
}


@pytest.mark.parametrize("how", RISKY)
def test_check_warns_of_a_tripwire_that_is_allowed(cli: Cli, tmp_path: Path, how: str) -> None:
    names, args = RISKY[how]
    rule = {"names": names[:1], "action": "SCMP_ACT_ALLOW", **({"args": args} if args else {})}
    document = json.loads(STRICT.read_text())
    for group in document["syscalls"]:
        group["names"] = [name for name in group["names"] if name != names[0]]
    document["syscalls"] = [group for group in document["syscalls"] if group["names"]]
    document["syscalls"].append(rule)
    file = tmp_path / "risky.json"
    file.write_text(json.dumps(document))
    ended = cli("profile", "check", str(file))
    assert (ended.status, "fine" in ended.out) == (0, False)
    assert f"allows what ends a process under compute: {names[0]}" in ended.err
    (entry,) = json.loads(cli("profile", "check", str(file), "--json").out)
    assert entry["tripwires_allowed"] == [names[0]]


def test_check_warns_where_everything_is_allowed(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "open.json"
    document = json.loads(STRICT.read_text())
    file.write_text(
        json.dumps({**document, "defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}).replace(
            '"defaultErrnoRet": 38, ', ""
        )
    )
    (entry,) = json.loads(cli("profile", "check", str(file), "--json").out)
    assert {"bpf", "kexec_load", "keyctl"} <= set(entry["tripwires_allowed"])
    assert entry["allows_unnamed"] is True
    ended = cli("profile", "check", str(file))
    assert (ended.status, "fine" in ended.out) == (0, False)
    assert "allows what it does not name; containers are refused" in ended.err
    for name in ("compute", "network", "strict"):
        shipped = str(profile_directory() / f"{name}.json")
        (entry,) = json.loads(cli("profile", "check", shipped, "--json").out)
        assert (entry["tripwires_allowed"], entry["allows_unnamed"]) == ([], False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ('{"defaultAction": "SCMP_ACT_TRACE", "syscalls": []}', "no tracer"),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": '
            '[{"names": ["nosuch"], "action": "SCMP_ACT_ERRNO"}]}',
            "nosuch",
        ),
    ],
)
def test_check_says_what_is_wrong(cli: Cli, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    ended = cli("profile", "check", str(STRICT), str(file))
    assert ended.status == 1
    assert words in ended.err
    assert json.loads(cli("profile", "check", str(file), "--json").out)["error"]["cause"]


@pytest.mark.usefixtures("config")
def test_diff_has_the_status_of_diff(cli: Cli) -> None:
    assert cli("profile", "diff", "strict", str(STRICT)).status == 0
    ended = cli("profile", "diff", "strict", "compute", "--json")
    assert ended.status == 1
    found = {item["call"]: (item["before"], item["after"]) for item in json.loads(ended.out)}
    assert found["ptrace"] == ("kill", "EPERM")
    assert "bpf" not in found
    assert "ptrace" in cli("profile", "diff", "strict", "compute").out


def test_adopt_puts_a_profile_beside_the_configuration(cli: Cli, config: Path) -> None:
    ended = cli("profile", "adopt", str(STRICT), "--name", "mine-1", "--json")
    assert ended.status == 0, ended.out
    file = config.parent / "profiles" / "mine-1.json"
    assert json.loads(ended.out)["file"] == str(file)
    assert file.read_bytes() == STRICT.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in file.parent.iterdir()] == ["mine-1.json"]
    entries = {entry["name"]: entry for entry in json.loads(cli("profile", "list", "--json").out)}
    assert entries["mine-1"]["origin"] == "own"
    assert cli("profile", "adopt", str(STRICT), "--name", "mine-1").status == 2
    assert cli("profile", "adopt", str(STRICT), "--name", "mine-1", "--force").status == 0
    assert "raise version" in cli("profile", "adopt", str(STRICT), "--name", "other").err


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("name", ["strict", "../evil", "Bad", ""])
def test_adopt_refuses_names(cli: Cli, name: str) -> None:
    assert cli("profile", "adopt", str(STRICT), f"--name={name}").status == 2


def test_adopt_refuses_what_is_broken_before_anything_is_written(
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"defaultAction": "SCMP_ACT_KILL", "syscalls": []}')
    assert cli("profile", "adopt", str(bad)).status == 6
    assert not (config.parent / "profiles").exists()


def test_names_are_completed(config: Path) -> None:
    context = typer.Context(typer.main.get_command(profile.app))
    assert profile._names(context, "st") == ["strict"]
    (config.parent / "profiles").mkdir(mode=0o777)
    (config.parent / "profiles").chmod(0o777)
    assert profile._names(context, "st") == []


def test_a_profile_is_named_after_tool_and_version() -> None:
    assert profile._name("word-count", "1.2.0-rc.1+b") == "word-count-1-2-0-rc-1-b"
    assert len(profile._name("a" * 80, "1.0.0")) <= 64
