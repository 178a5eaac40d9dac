"""The operator's configuration and the places of things."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fumehood.config import (
    FIRST_FREE_UID,
    MAX_UID,
    Config,
    DockerEngine,
    Keys,
    Principals,
    load,
    places,
)
from fumehood.errors import ConfigError
from fumehood.model.plan import Limits
from support.refusals import refused

UID = os.geteuid()


def written(directory: Path, text: str | bytes, mode: int = 0o644) -> Path:
    directory.mkdir(mode=0o755, exist_ok=True)
    path = directory / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def refusal(directory: Path, text: str | bytes, mode: int = 0o644) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(written(directory, text, mode), trusted_uid=UID)
    return caught.value


# --- places ---------------------------------------------------------------------------------


def test_places_of_root() -> None:
    found = places(environ={"HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0"}, uid=0)
    assert str(found.socket) == "/run/fumehood/fumehood.sock"
    assert str(found.state) == "/var/lib/fumehood"
    assert str(found.config) == "/etc/fumehood/config.yaml"
    assert not found.config_named


def test_places_of_a_user_are_the_xdg_directories() -> None:
    found = places(
        environ={
            "XDG_RUNTIME_DIR": "/run/user/7",
            "XDG_STATE_HOME": "/s",
            "XDG_CONFIG_HOME": "/c",
        },
        uid=7,
    )
    assert str(found.socket) == "/run/user/7/fumehood/fumehood.sock"
    assert (str(found.state), str(found.config)) == ("/s/fumehood", "/c/fumehood/config.yaml")


def test_a_relative_place_in_a_folder_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="relative to a folder that is gone") as refused:
        places(Path("fumehood.sock"), environ={}, uid=1000)
    assert refused.value.remedy


def test_places_of_a_user_without_xdg_directories() -> None:
    found = places(environ={"HOME": "/home/ann", "XDG_STATE_HOME": "relative"}, uid=7)
    assert str(found.socket) == "/tmp/fumehood-7/fumehood.sock"
    assert str(found.state) == "/home/ann/.local/state/fumehood"
    assert str(found.config) == "/home/ann/.config/fumehood/config.yaml"


def test_options_go_before_variables_before_defaults() -> None:
    environ = {"FUMEHOOD_SOCKET": "/v/s", "FUMEHOOD_STATE": "/v/state", "FUMEHOOD_CONFIG": "/v/c"}
    found = places(Path("/o/s"), None, Path("rel"), environ=environ, uid=0)
    assert (str(found.socket), str(found.state)) == ("/o/s", "/v/state")
    assert found.config == Path.cwd() / "rel"
    assert found.config_named
    assert places(environ={"FUMEHOOD_CONFIG": "/v/c"}, uid=0).config_named


@pytest.mark.parametrize("name", ["FUMEHOOD_SOCKET", "FUMEHOOD_STATE", "FUMEHOOD_CONFIG"])
def test_an_empty_variable_is_an_error_and_no_default(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        places(environ={name: ""}, uid=0)


# --- what is read ---------------------------------------------------------------------------


def test_a_missing_file_is_all_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "none.yaml", trusted_uid=UID) == Config()
    assert load(tmp_path / "none" / "none.yaml", trusted_uid=UID) == Config()


def test_a_missing_file_that_was_named_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "none.yaml", trusted_uid=UID, required=True)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "---\n"])
def test_an_empty_file_is_all_defaults(tmp_path: Path, text: str) -> None:
    assert load(written(tmp_path, text), trusted_uid=UID) == Config()


def test_the_defaults_are_those_documented() -> None:
    config = Config()
    assert (config.socket_group, config.supervisor_user) == ("fumehood", "fumehood")
    assert (config.callers, config.operators) == (None, None)
    assert (config.accounts.first, config.accounts.count) == (1_900_000_000, 10_000)
    assert config.accounts.libraries == 1_900_010_000
    assert config.ceilings.to_plan() == Limits(
        600_000, 2_000, 2 << 30, 512, 512 << 20, 65_536, 16 << 20
    )
    assert (config.sandboxes, config.queue, config.queue_timeout) == (64, 256, 30.0)
    assert (config.frame_bytes, config.connections) == (16 << 20, 128)
    assert (config.in_flight_per_connection, config.idle_frame_timeout) == (64, 30.0)
    assert config.per_caller < config.sandboxes + config.queue


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
socket_group: tools
supervisor_user: hood
callers: {users: [ann, 1000], groups: [staff, 50]}
operators: {users: [root]}
roles: {team: {users: [7]}}
rules: [{effect: deny, who: [team]}]
approvals: {wait: 1m, pending: 2, per_caller: 1}
sessions: {lifetime: 2m, per_caller: 5}
rates: {caller: 600/m, session: 10/s, tool: 9/h, all: 100/s}
budgets: [{per: tool, window: day, cpu: 2h, output: 1GiB, invocations: 5}]
adaptive: false
tighten_at: 40
publishers: {acme: {keys: [{key: "-----BEGIN PUBLIC KEY-----", until: 2027-01-01}]}}
revoked_keys: [0123456789abcdef0123456789abcdef]
require_signature: true
per_session: 4
accounts: {first: 700000, count: 5}
ceilings: {timeout: 5m, cpu: 8, memory: 1GiB, pids: 64, scratch: 32MiB, output: 4MiB}
accept_unenforced: [memory, service_account, runsc.seccomp, CVE-2024-21626]
engines: [docker, bubblewrap]
docker: {socket: /run/other.sock, runtimes: [runc, runsc]}
sandboxes: 4
warm: 2
warm_per_tool: 1
queue: 0
queue_timeout: 2m
per_caller: 3
frame_bytes: 64KiB
connections: 9
in_flight_per_connection: 2
idle_frame_timeout: 5s
per_tool: 2
pressure: {memory_commit: 50, memory_free: 10, memory_stall: 20, io_stall: 30, cpu_load: 8}
storage: {free: 1GiB, audit: 256MiB, tools: 1GiB, images: 2GiB}
shutdown: {grace: 3s}
keys: {master_command: [/bin/kms, get], active_days: 90, verify_days: 900, warn_days: 9}
audit: {content: [web-fetch]}
forward: {to: "tls://siem.example:6514", format: cef}
metrics: {listen: "127.0.0.1:9464"}
telemetry: {to: "https://otlp.example:4318", interval: 30s}
incidents: {rules: [{signal: canary, within: 2h, actions: [stop_tool]}], notify: [/bin/true]}
scan:
  {canaries: [a canary], rules: [/etc/own.toml], allow: [{rule: jwt, word: example}],
   tools: {a: {policy: []}}}
behaviour:
  {samples: 5, deviations: 4, spinning: 2s, fork_storm: 9, denials: 8, kill: [spinning],
   log_denials: ["*", a-tool]}
"""
    config = load(written(tmp_path, text), trusted_uid=UID)
    assert config.callers == Principals(users=("ann", 1000), groups=("staff", 50))
    assert config.roles == {"team": Principals(users=(7,))}
    assert config.rules is not None
    assert (config.rules[0].effect, config.approvals.wait) == ("deny", 60.0)
    assert config.ceilings.to_plan().cpu_millis == 8000
    assert config.accept_unenforced[:2] == ("memory", "service_account")
    assert config.engines == ("docker", "bubblewrap")
    assert config.docker == DockerEngine(socket="/run/other.sock", runtimes=("runc", "runsc"))
    assert config.scan.canaries == ("a canary",)
    assert (config.scan.allow[0].word, config.scan.tools["a"].policy) == ("example", ())
    assert (config.queue_timeout, config.idle_frame_timeout) == (120.0, 5.0)
    assert config.frame_bytes == 65_536
    assert config.behaviour.log_denials == ("*", "a-tool")
    assert (config.telemetry.to, config.telemetry.interval) == ("https://otlp.example:4318", 30.0)
    assert config.keys == Keys(
        master_command=("/bin/kms", "get"), active_days=90, verify_days=900, warn_days=9
    )
    assert set(re.findall(r"^(\w+):", text, re.MULTILINE)) == set(Config.model_fields)
    assert Config.from_json(config.model_dump_json()) == config


def test_an_empty_list_is_not_the_default() -> None:
    assert Config.model_validate({"callers": {}}).callers == Principals()


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("queu: 1", r"config\.yaml:1: queu: unknown key .*did you mean 'queue'"),
        ("\n\nceilings:\n  memroy: 1GiB", r":4: ceilings\.memroy: .*did you mean 'memory'"),
        ("callers: {user: []}", r"callers\.user: .*did you mean 'users'"),
        ("queue: true", "queue: expected a whole number, got true"),
        ("per_caller: null", r"got null \(write a whole number from 1 to 65536\)"),
        ("sandboxes: -1", r"least allowed, 1 \(write 1 to 4096\)"),
        ("idle_frame_timeout: 2h", r"most allowed, 10m \(write 1s to 10m\)"),
        ("queue: -1", "queue: -1 is below the least allowed, 0"),
        ("engines: []", "needs at least 1 item, has 0"),
        ("keys: {master_file: /a, master_credential: b}", "more than one source"),
        ("keys: {master_file: a}", "no absolute path"),
        ("keys: {master_command: [kms]}", "no absolute path"),
        ("engines: [docker, docker]", "engines: names one twice"),
        ("engines: [podman]", "podman"),
        ('behaviour: {log_denials: ["c*"]}', r'log_denials: "c\*" is no name of a tool'),
        ("docker: {socket: docker.sock}", "no absolute path of a Unix socket"),
        ("docker: {runtimes: []}", "needs at least 1 item, has 0"),
        ("sandboxes: 0", "sandboxes: 0 is below the least allowed, 1"),
        ("sandboxes: 5000", "sandboxes: 5000 is above the most allowed, 4096"),
        ("sandboxes: .inf", "expected a whole number"),
        ("queue_timeout: 30", "expected a duration, got 30"),
        ("queue_timeout: 500ms", "500ms is below the least allowed, 1s"),
        ("idle_frame_timeout: 1h", "1h is above the most allowed, 10m"),
        ("frame_bytes: 16MB", "expected a size"),
        ("frame_bytes: 1B", "1B is below the least allowed, 4KiB"),
        ("ceilings: {cpu: 0.5}", r"ceilings\.cpu: 0.5 is below the least allowed, 1.0"),
        ("ceilings: {memory: 0MiB}", "expected a size"),
        ("accounts: {first: 1000}", f"1000 is below the least allowed, {FIRST_FREE_UID}"),
        ("accounts: {count: 0}", "0 is below the least allowed, 1"),
        (f"accounts: {{first: {MAX_UID - 1}, count: 2}}", "the range .* passes"),
        (f"accounts: {{first: {MAX_UID - 9}, count: 10}}", "and .* for libraries, passes"),
        ("callers: {users: ann}", "expected a list"),
        ("callers: {users: [-1]}", r"callers\.users\[0\]: -1 is no account"),
        ("callers: {users: [true]}", "true is no account"),
        ("callers: {users: ['*']}", "is no account"),
        ("callers: {users: ['007']}", "is no account"),
        ("callers: {users: [4294967295]}", "is no account"),
        ("callers: ann", "expected a mapping"),
        ("socket_group: ''", "is no account"),
        ("socket_group: 12", "expected a string"),
        ("supervisor_user: ../root", "is no account"),
        ("accept_unenforced: [seccomp]", "expected 'service_account'"),
        ("accept_unenforced: memory", "expected a list"),
        ("accept_unenforced: [all]", "expected 'service_account'"),
        ("- a", "expected a mapping"),
        ("a: &x 1", ":1: the anchor"),
        ("a: 1\na: 2", ":2: the key .* stands twice"),
        ("a: [", "not well-formed YAML"),
        (b"\xff\xfe", "byte 0 is not UTF-8"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_line_key_and_what_is_expected(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    error = refusal(tmp_path, text)
    assert re.search(says, str(error)), error
    assert str(error).startswith(str(tmp_path / "config.yaml"))


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o622])
def test_a_file_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    error = refusal(tmp_path, "queue: 1", mode)
    assert "can be written by others" in error.cause
    assert error.remedy.startswith("chmod go-w ")


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_file_in_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "open", "queue: 1")
    path.parent.chmod(mode)
    with pytest.raises(ConfigError, match="open can be written by others"):
        load(path, trusted_uid=UID)


def test_a_sticky_folder_is_fine(tmp_path: Path) -> None:
    path = written(tmp_path / "sticky", "queue: 1")
    path.parent.chmod(0o1777)
    assert load(path, trusted_uid=UID).queue == 1


def test_a_file_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "queue: 1")
    real = os.fstat

    def foreign(fd: int) -> os.stat_result:
        found = list(real(fd))
        found[4] = 4711
        return os.stat_result(found)

    monkeypatch.setattr("fumehood.trusted.os.fstat", foreign)
    with pytest.raises(ConfigError, match="belongs to UID 4711"):
        load(path, trusted_uid=UID)


def test_links_pipes_and_folders_are_no_configuration(tmp_path: Path) -> None:
    target = written(tmp_path / "real", "queue: 1")
    link, fifo = tmp_path / "link.yaml", tmp_path / "fifo.yaml"
    link.symlink_to(target)
    os.mkfifo(fifo, 0o600)
    dangling = tmp_path / "dangling.yaml"
    dangling.symlink_to(tmp_path / "nowhere")
    for path in (link, fifo, tmp_path, dangling):
        with pytest.raises(ConfigError):
            load(path, trusted_uid=UID)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    os.truncate(path, 1 << 40)
    with pytest.raises(ConfigError, match="bytes; at most"):
        load(path, trusted_uid=UID)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["users", "groups", "first", "count", "timeout", "cpu", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*Config.model_fields, "x"]), json_values, max_size=3))
def test_any_document_is_read_or_refused_in_one_short_line(
    tmp_path: Path, value: dict[str, Any]
) -> None:
    path = written(tmp_path, json.dumps(value))
    error = refused(ConfigError, lambda: load(path, trusted_uid=UID))
    assert error is None or (len(str(error)) < 600 and str(error).isprintable())


# --- what is added on the command line ------------------------------------------------------


def test_controls_may_be_accepted_on_the_command_line() -> None:
    config = Config.model_validate({"accept_unenforced": ["pids"]}).accepting(["memory", "pids"])
    assert config.accept_unenforced == ("memory", "pids")


def test_an_unknown_control_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown control .*did you mean 'memory'"):
        Config().accepting(["memroy"])
