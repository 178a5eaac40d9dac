"""A private daemon is started, believed only when it is ready, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fumehood.cli import private
from fumehood.errors import ConfigError, EngineError

PACKAGE = str(Path(private.__file__).parents[2])

ARGUMENTS = "import os, signal, sys; fd = int(sys.argv[sys.argv.index('--ready-fd') + 1]);"
READY = f"{ARGUMENTS} os.write(fd, b'x'); os.close(fd); signal.pause()"


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Lets a test put a program in the daemon's place."""
    return monkeypatch


def put(pretend: pytest.MonkeyPatch, program: str) -> None:
    pretend.setattr(private, "_python", lambda: [sys.executable, "-c", program])


def test_it_is_ready_when_it_says_so_and_stopped_in_the_end(
    pretend: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pids = tmp_path / "pid"
    put(pretend, f"open({str(pids)!r}, 'w').write(str(__import__('os').getpid())); {READY}")
    with private.daemon(None) as socket:
        assert socket.parent.is_dir()
        os.kill(int(pids.read_text()), 0)
    assert not socket.parent.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.read_text()), 0)


def test_it_is_stopped_when_the_body_fails(pretend: pytest.MonkeyPatch) -> None:
    put(pretend, READY)
    with pytest.raises(KeyError), private.daemon(None) as socket:
        raise KeyError("body")
    assert not socket.parent.exists()


def test_options_are_passed_on(pretend: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = tmp_path / "words"
    put(pretend, f"{ARGUMENTS} open({str(words)!r}, 'w').write(' '.join(sys.argv[1:])); {READY}")
    with private.daemon(Path("/etc/x.yaml"), ["memory,cpu"]):
        said = words.read_text()
    assert said.startswith("serve --socket ")
    assert "--config /etc/x.yaml --accept-unenforced memory,cpu --ready-fd " in said
    assert f" --with-parent {os.getpid()} --place " in said


@pytest.mark.parametrize(("status", "kind"), [(6, EngineError), (2, ConfigError), (1, EngineError)])
def test_a_daemon_that_fails_is_quoted(
    pretend: pytest.MonkeyPatch, status: int, kind: type[Exception]
) -> None:
    text = "starting\\nerror: this host cannot\\n  remedy: do that\\n"
    put(pretend, f"import sys; sys.stderr.write('{text}'); sys.exit({status})")
    with pytest.raises(kind) as caught, private.daemon(None):
        pass
    assert str(caught.value) == "this host cannot (do that)"


def test_a_daemon_that_fails_in_silence_is_still_an_error(pretend: pytest.MonkeyPatch) -> None:
    put(pretend, "pass")
    with pytest.raises(EngineError, match="ended at its start"), private.daemon(None):
        pass


def test_a_daemon_that_never_gets_ready_is_given_up(pretend: pytest.MonkeyPatch) -> None:
    pretend.setattr(private, "START_SECONDS", 0.2)
    put(pretend, "import signal; signal.pause()")
    with pytest.raises(EngineError, match="did not start within"), private.daemon(None):
        pass


def test_a_daemon_that_ignores_sigterm_is_killed(pretend: pytest.MonkeyPatch) -> None:
    pretend.setattr(private, "STOP_SECONDS", 0.2)
    put(pretend, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}")
    with private.daemon(None) as socket:
        pass
    assert not socket.parent.exists()


COMMAND = """
import sys
sys.path.insert(0, sys.argv[1])
from fumehood.cli import private, serve
program = (
    "import os, sys, signal; sys.path.insert(0, " + repr(sys.argv[1]) + ");"
    "from fumehood.cli import serve;"
    "serve._die_with(int(sys.argv[sys.argv.index('--with-parent') + 1]));"
    "fd = int(sys.argv[sys.argv.index('--ready-fd') + 1]); os.write(fd, b'x'); os.close(fd);"
    "print(os.getpid(), flush=True); signal.pause()"
)
private._python = lambda: [sys.executable, "-c", program]
import subprocess
real = subprocess.Popen
private.subprocess.Popen = lambda argv, **o: real(argv, **(o | {"stdout": None}))
with private.daemon(None):
    __import__("signal").pause()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_it_ends_with_the_command_however_that_ends(number: int, tmp_path: Path) -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, PACKAGE],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # a killed command leaves its folder
    )
    assert command.stdout is not None
    assert int(command.stdout.readline())
    command.send_signal(number)
    command.wait(20)
    # The daemon holds the pipe: end of file says that it is gone.
    assert command.stdout.read() == ""
    command.stdout.close()
