"""Competitors that are Python libraries, each imported only in its own worker."""

from __future__ import annotations

import shlex
from typing import Any

from bench.peers.base import PeerFailed, PeerUnavailable, Place, Work
from bench.peers.commands import MEMORY, Docker, volumes


class Sandlock:
    """sandlock: Landlock and seccomp, no namespaces, no root file system of its own."""

    def __init__(self, work: Work, place: Place, options: dict[str, Any]) -> None:  # noqa: ARG002
        try:
            from sandlock.sandbox import Sandbox, StdioMode
        except (ImportError, OSError) as error:
            raise PeerUnavailable(f"sandlock cannot be loaded: {error}") from None
        self._sandbox, self._piped = Sandbox, StdioMode.PIPED
        self._argv = [word.replace("/tool/", f"{work.folder}/") for word in work.argv]
        self._stdin = work.stdin
        # The folders it would refuse to name when they do not exist.
        self._readable = ["/usr", "/lib", "/lib64", "/bin", "/proc", "/dev", "/etc"]
        self._readable += [work.folder] if work.folder else []

    def call(self) -> bytes:
        sandbox = self._sandbox(
            fs_readable=self._readable,
            fs_writable=["/tmp"],
            max_memory=MEMORY,
            max_processes=32,
            clean_env=True,
        )
        with sandbox.popen(self._argv, stdin=self._piped, stdout=self._piped) as process:
            process.stdin.write(self._stdin)
            process.stdin.close()
            output: bytes = process.stdout.read()
            process.wait()
        return output

    def close(self) -> None:
        """Nothing is held."""


class _LlmSandbox:
    """llm-sandbox has no stdin: the input stands in the command, which a shell pipes on."""

    def __init__(self, work: Work, place: Place, options: dict[str, Any]) -> None:
        try:
            from llm_sandbox import SandboxSession
        except ImportError as error:
            raise PeerUnavailable(f"llm-sandbox is not installed: {error}") from None
        self._session = SandboxSession
        self._options = self.session_options(work, place)
        text = shlex.quote(work.stdin.decode())
        inner = f"printf %s {text} | {shlex.join(self.program(work))}"
        self._command = self.command(inner)
        self._kept = self._session(**self._options) if options.get("kept") else None
        if self._kept is not None:
            self._kept.open()

    def session_options(self, work: Work, place: Place) -> dict[str, Any]:
        """What the back end is given."""
        raise NotImplementedError

    def program(self, work: Work) -> list[str]:
        """argv as it is inside."""
        return list(work.argv)

    def command(self, inner: str) -> str:
        """How the back end is given a shell command."""
        return inner

    def call(self) -> bytes:
        if self._kept is not None:
            return self._run(self._kept)
        with self._session(**self._options) as session:
            return self._run(session)

    def _run(self, session: Any) -> bytes:
        done = session.execute_command(self._command)
        if done.exit_code:
            raise PeerFailed(f"exit code {done.exit_code}: {done.stderr[:200]}")
        return str(done.stdout).encode()

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()


class LlmSandboxBubblewrap(_LlmSandbox):
    """A new session for each call; with `kept` one session, whose files then outlive a call."""

    def session_options(self, work: Work, place: Place) -> dict[str, Any]:  # noqa: ARG002
        from llm_sandbox.local.config import DEFAULT_READ_ONLY_PATHS, LocalSandboxConfig

        folder = (work.folder,) if work.folder else ()
        config = LocalSandboxConfig(read_only_paths=(*DEFAULT_READ_ONLY_PATHS, *folder))
        return {"backend": "bubblewrap", "skip_environment_setup": True, "sandbox_config": config}

    def program(self, work: Work) -> list[str]:
        return [word.replace("/tool/", f"{work.folder}/") for word in work.argv]


class LlmSandboxDocker(_LlmSandbox):
    """A new container for each call; with `kept` one container and an exec for each call."""

    def session_options(self, work: Work, place: Place) -> dict[str, Any]:
        if not place.docker:
            raise PeerUnavailable("no Docker Engine could be started here")
        import docker

        return {
            "backend": "docker",
            "client": docker.DockerClient(base_url=f"unix://{place.docker}"),
            "image": Docker.IMAGE,
            "lang": "python",
            "skip_environment_setup": True,
            "keep_template": True,
            "runtime_configs": {"network_mode": "none", "volumes": volumes(work)},
        }

    def command(self, inner: str) -> str:
        return f"sh -c {shlex.quote(inner)}"
