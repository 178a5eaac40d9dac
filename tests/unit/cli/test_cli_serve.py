"""What `serve` decides before it becomes the keeper."""

from __future__ import annotations

import json
import os
import pwd
import stat
import sys
from pathlib import Path

import pytest

from fumehood.cli import serve
from fumehood.config import Config
from fumehood.errors import ConfigError, EngineError, UsageError
from fumehood.launcher import tool_trees
from fumehood.model.tree import UNSEALED
from fumehood.places import Places

NOBODY = 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to another user")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "run" / "socket", tmp_path / "state", tmp_path / "config.yaml")


def test_accepted_controls_are_added_to_the_configurations(places: Places) -> None:
    places.config.write_text("accept_unenforced: [pids]\n")
    config = serve.configuration(places, ["memory,cpu", "pids"])
    assert config.accept_unenforced == ("cpu", "memory", "pids")


def test_an_unknown_control_is_refused_with_the_known_ones(places: Places) -> None:
    with pytest.raises(UsageError) as caught:
        serve.configuration(places, ["network"])
    assert "service_account" in caught.value.remedy


def test_a_named_configuration_must_exist(places: Places) -> None:
    named = Places(places.socket, places.state, places.config, config_named=True)
    with pytest.raises(ConfigError, match="does not exist"):
        serve.configuration(named)


@pytest.mark.parametrize(
    ("user", "group", "says"),
    [
        ("no-such-user", "root", "there is no user"),
        ("root", "root", "may not be root"),
        ("nobody", "no-such-group", "there is no group"),
    ],
)
def test_the_supervisors_account_must_be_there_and_not_root(
    user: str, group: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        serve.supervisor_account(Config(supervisor_user=user, socket_group=group))


def test_the_supervisors_account_comes_with_the_sockets_group() -> None:
    nobody = pwd.getpwnam("nobody")
    config = Config(supervisor_user="nobody", socket_group="nogroup")
    uid, gid, groups = serve.supervisor_account(config)
    assert (uid, gid, len(groups)) == (nobody.pw_uid, nobody.pw_gid, 1)


def test_the_state_is_made_for_the_supervisor_alone(places: Places) -> None:
    serve.make_state(places.state, -1, -1)
    assert stat.S_IMODE(places.state.stat().st_mode) == 0o700
    assert (places.state / "store").is_dir()
    assert places.state.stat().st_uid == os.geteuid()


def test_a_state_that_is_a_link_is_refused(places: Places, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    places.state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        serve.make_state(places.state, -1, -1)
    assert not list((tmp_path / "elsewhere").iterdir())


def seen(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, stat.S_IMODE(found.st_mode)


@needs_root
def test_the_state_is_given_to_the_supervisor_also_again(places: Places) -> None:
    for _ in range(2):
        serve.make_state(places.state, NOBODY, NOBODY)
        assert seen(places.state) == (NOBODY, 0o700)
        assert seen(places.state / "store") == (0, 0o755), "the store is not the supervisor's"


@needs_root
def test_a_store_that_the_supervisor_could_write_is_set_aside_once(places: Places) -> None:
    serve.make_state(places.state, NOBODY, NOBODY)
    (places.state / "store" / "tree").mkdir()
    os.chown(places.state / "store", NOBODY, NOBODY)
    for _ in range(2):
        serve.make_state(places.state, NOBODY, NOBODY)
        assert seen(places.state / "store") == (0, 0o755)
        assert not list((places.state / "store").iterdir())
        assert [entry.name for entry in (places.state / UNSEALED).iterdir()] == ["tree"]


@pytest.mark.parametrize("uid", [-1, pytest.param(NOBODY, marks=needs_root)])
def test_a_store_exchanged_for_a_link_changes_nothing_elsewhere(
    places: Places, tmp_path: Path, uid: int
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    serve.make_state(places.state, uid, uid)
    (places.state / "store").rmdir()
    (places.state / "store").symlink_to(secret)
    before = seen(secret)
    with pytest.raises(ConfigError, match="store is a link") as caught:
        serve.make_state(places.state, uid, uid)
    assert "move" in caught.value.remedy
    assert seen(secret) == before


def test_a_store_that_is_a_file_is_refused(places: Places) -> None:
    places.state.mkdir()
    (places.state / "store").touch(mode=0o600)
    with pytest.raises(ConfigError, match="store is no folder"):
        serve.make_state(places.state, -1, -1)
    assert seen(places.state / "store") == (os.geteuid(), 0o600)


@needs_root
@pytest.mark.parametrize("name", ["", "store"])
def test_a_strangers_folder_is_refused(places: Places, name: str) -> None:
    serve.make_state(places.state, NOBODY, NOBODY)
    before = 4242, seen(places.state / name)[1]
    os.chown(places.state / name, 4242, 4242)
    with pytest.raises(ConfigError, match="belongs to UID 4242") as caught:
        serve.make_state(places.state, NOBODY, NOBODY)
    assert "chown" in caught.value.remedy
    assert seen(places.state / name) == before


@needs_root
def test_a_cache_exchanged_for_a_file_or_link_is_not_given_away(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "cache"
    monkeypatch.setattr(serve, "cache", lambda *_: system)
    serve.make_state(places.state, NOBODY, NOBODY)
    assert serve._make_cache(places.state, NOBODY, NOBODY) == system
    assert seen(system) == (NOBODY, 0o700)
    system.rmdir()
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    system.symlink_to(secret)
    assert serve._make_cache(places.state, NOBODY, NOBODY) == places.state / "cache"
    (places.state / "cache").rmdir()
    file = tmp_path / "shadow"
    file.touch(mode=0o600)
    (places.state / "cache").hardlink_to(file)
    with pytest.raises(ConfigError, match="is no folder"):
        serve._make_cache(places.state, NOBODY, NOBODY)
    assert seen(secret) == (0, 0o700)
    assert seen(file) == (0, 0o600)


def test_the_launcher_opens_no_store_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "secret")
    with pytest.raises(EngineError, match="cannot be opened as a folder"):
        tool_trees.open_store(str(tmp_path / "store"))
    os.close(tool_trees.open_store(str(tmp_path / "secret")))


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        serve.make_state(tmp_path / "file" / "state", -1, -1)
    with pytest.raises(ConfigError, match="file"):
        serve._make_parent(tmp_path / "file" / "run" / "socket", root=False)


def test_the_summary_names_what_holds_here(places: Places) -> None:
    told = serve.summary(places, Config(accept_unenforced=("pids",)))
    assert told["socket"] == str(places.socket)
    assert told["accepted"] == "not enforced here: pids"


@pytest.mark.parametrize("human", ["a terminal", ""])
def test_the_summary_is_a_line_of_the_log_where_nobody_reads_along(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, human: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: bool(human))
    serve.tell({"socket": "/run/s", "state": "/v\u202e"})
    told = capsys.readouterr().err
    if human:
        assert told == "socket      /run/s\nstate       /v\\u202e\n"
    else:
        line = json.loads(told)
        assert set(line) == {"event", "level", "timestamp", "socket", "state"}
        assert (line["event"], line["level"], line["state"]) == ("starting", "info", "/v\u202e")
        assert told.isascii()


def test_a_daemon_whose_command_has_ended_does_not_start() -> None:
    with pytest.raises(UsageError, match="has ended"):
        serve._die_with(os.getpid())
