"""What `serve` decides before it becomes the keeper."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from fumehood.cli import serve
from fumehood.config import Config
from fumehood.errors import ConfigError, UsageError
from fumehood.places import Places


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
    serve._make_state(places.state, -1, -1)
    assert stat.S_IMODE(places.state.stat().st_mode) == 0o700
    assert (places.state / "store").is_dir()
    assert places.state.stat().st_uid == os.geteuid()


def test_a_state_that_is_a_link_is_refused(places: Places, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    places.state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        serve._make_state(places.state, -1, -1)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        serve._make_state(tmp_path / "file" / "state", -1, -1)
    with pytest.raises(ConfigError, match="file"):
        serve._make_parent(tmp_path / "file" / "run" / "socket", root=False)


def test_the_summary_names_what_holds_here(places: Places) -> None:
    lines = "\n".join(serve.summary(places, Config(accept_unenforced=("pids",))))
    assert str(places.socket) in lines
    assert "no capability, no_new_privs, seccomp, no network" in lines
    assert "not enforced here: pids" in lines


def test_a_daemon_whose_command_has_ended_does_not_start() -> None:
    with pytest.raises(UsageError, match="has ended"):
        serve._die_with(os.getpid())
