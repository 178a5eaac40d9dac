"""Runs one program that fetches from a network, pip or npm, in a sandbox of its own.

A small privileged process like the launcher, for the command line: single-threaded, standard
library and kernel room only. The program gets the host's network where the job says so, and
nothing else of the host than /usr, how names are resolved, which certificates are trusted, and
the job's own paths. Like a tool it is a service account without any capability, under a filter
and in a cgroup, and all of that is read back: before it is let go, its filter once that is loaded.

It must never give the program a descriptor, a variable or a path that the job does not name, and
never end before everything of the program is dead. When its channel closes, however that happens,
the program dies and this process ends.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from fumehood.engines import bwrap
from fumehood.errors import EngineError, ExitStatus, FumehoodError
from fumehood.kernel import (
    accounts,
    cgroup,
    cgroup_sweep,
    libc,
    pidfd,
    proc,
    readback,
    rootfs,
    seccomp,
)
from fumehood.launcher.entry import keep_descriptors
from fumehood.launcher.fetch_disk import Disk
from fumehood.launcher.fetch_proof import shared_namespaces, wrong_descriptors, wrong_mounts
from fumehood.model.codec import decode, encode
from fumehood.model.plan import Limits

PLACE = "/fetch"
OPEN_SECONDS = 10.0
OVERHEAD_PIDS = 2
"""bubblewrap's monitor and its init."""
LOOK_SECONDS = 0.5
"""Between two looks at what lies in the work folder."""
SPACE_SECONDS = 0.05
"""Between two looks at the free space of its file system: what can be written meanwhile is how
far the bound can be passed (2 to 4 MiB where two processes wrote as fast as two cores let them)."""
MAX_SAID = 16 * 1024
TMP_BYTES = 64 << 20
TMP_INODES = 4096
MAX_DESCRIPTORS = 1024
"""Of each process: as many unlinked files can be open, or on their way through sockets."""
DENIED = {
    "bind": errno.EPERM,  # an end of a stream pair takes an abstract name, in the host's namespace
    "fallocate": errno.EOPNOTSUPP,  # fills a disk before anybody looks; glibc writes instead
}
"""Calls that the profile allows to tools, whose network namespace and disk are their own."""
_CHUNK = 64 * 1024
_GATE_FD, _STATUS_FD = 3, 4
_MAX_STATUS = 4096
_POLL_SECONDS = 0.001
_NAMED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_KEEP = frozenset(
    {
        libc.CAP_SYS_ADMIN,
        libc.CAP_SETUID,
        libc.CAP_SETGID,
        libc.CAP_KILL,
        libc.CAP_DAC_OVERRIDE,  # the work folder, whatever modes the program gives to its files
        libc.CAP_SYS_PTRACE,  # /proc/PID/ns of other accounts
    }
)
# How names are resolved and which certificates are trusted; nothing in them is secret. Links are
# followed: /etc/resolv.conf is one on many hosts.
_ETC = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/ssl/certs",
        "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/etc/ca-certificates")  # fmt: skip
# Where pip and npm look for an operator's settings below /usr, which may hold passwords.
_HIDDEN = ("/usr/etc", "/usr/local/etc")
_SETTINGS = ("pip.conf", "etc/pip.conf", "etc/npmrc")
"""The same below a Python or Node that is installed elsewhere."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run. All paths absolute.

    binds: (path of the host, path inside), shown read-only. work: a folder, writable at PLACE.
    network: the host's; otherwise none at all. uid, gid: the service account, or rootless our own.
    profiles, profile: directory and name of the seccomp profile.
    work_bytes, work_files: what may lie in the work folder.
    accepted: controls that the operator accepted as not enforced on this host.
    """

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    binds: tuple[tuple[str, str], ...]
    work: str
    network: bool
    uid: int
    gid: int
    profiles: str
    profile: str
    limits: Limits
    work_bytes: int
    work_files: int
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """How it ended. status: of the program as a shell reports it; None when it was killed by us,
    and `why` says for what. said: the last of stdout and stderr together.

    control, remedy: where no sandbox could be made, which says nothing of the program.
    """

    status: int | None
    why: str
    said: str
    control: str = ""
    remedy: str = ""


def main(argv: list[str]) -> int:
    """`MODULE CHANNEL_FD JOB_FD`; answers with one `Done`, or tells on stderr why it cannot."""
    keep_descriptors(int(word) for word in argv)
    channel = socket.socket(fileno=int(argv[0]))
    with os.fdopen(int(argv[1]), "rb") as file:
        job = decode(Job, json.load(file))
    try:
        done = _Fetching(job, channel).run()
    except EngineError as error:
        done = Done(None, error.cause, "", error.control or "sandbox", error.remedy)
    except (FumehoodError, OSError) as error:
        done = Done(None, str(error), "", "sandbox", "run `fumehood doctor` on the host")
    with contextlib.suppress(OSError):
        channel.send(json.dumps(encode(done)).encode())
    return ExitStatus.OK


def _again(fd: int) -> int:
    """A descriptor of the same file in our own mount namespace: only such can be bound in it.

    It is found by its path, and stands in a folder of the supervisor's, who could have put
    another file or a link there meanwhile.
    """
    found = os.open(os.readlink(f"/proc/self/fd/{fd}"), _NAMED)
    if not os.path.samestat(os.fstat(fd), os.fstat(found)):
        raise EngineError("what the sandbox is made from was exchanged", control="sandbox")
    return found


class _Fetching:
    """One run, from the mount namespace to the removed cgroup."""

    def __init__(self, job: Job, channel: socket.socket) -> None:
        self._job = job
        self._channel = channel
        self._rootless = os.geteuid() != 0
        self._pid = -1
        self._pidfd = -1
        self._said: deque[bytes] = deque()
        self._why = ""
        self._control = ""

    def run(self) -> Done:
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        bwrap.require_fixed(bwrap.installed(), self._job.accepted)
        if not self._rootless:
            accounts.check_range(self._job.uid, 1)
        profile = seccomp.load_named(self._job.profiles, self._job.profile)
        program = seccomp.compile_bpf(seccomp.narrowed(profile, DENIED))
        host = proc.namespaces("self")
        layout = cgroup.discover()
        cgroup_sweep.sweep(layout)
        cgroups = cgroup.Instance.create(layout)
        try:
            for control, reason in cgroups.problems.items():
                if control not in self._job.accepted:
                    raise EngineError(
                        f"{control} cannot be limited: {reason}",
                        f"accept it by name under accept_unenforced: {control}",
                        control=control,
                    )
            self._enter(layout)
            # Where the kernel can: nobody's abstract socket but ours is reached, whatever call or
            # kind of socket the filter forgot.
            if libc.landlock_version() >= libc.LANDLOCK_SCOPES_SINCE:
                libc.landlock_scope(libc.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)
            return self._confined(cgroups, program, host)
        finally:
            cgroups.close()

    def _enter(self, layout: cgroup.Layout) -> None:
        """A root with nothing in it but what the program may see, and our cgroups."""
        job = self._job
        wanted = [(job.work, PLACE), *job.binds]
        meant = [(os.open(path, _NAMED), target) for path, target in wanted]
        if self._rootless:
            rootfs.user_namespace()
        else:
            rootfs.private_namespace()
        own = [(_again(fd), target) for fd, target in meant]
        # Our own code is not among them: whatever is needed of it is loaded by now.
        binds = [rootfs.Bind(os.path.realpath(path), path) for path in _ETC if os.path.exists(path)]
        binds += [
            rootfs.Bind(f"/proc/self/fd/{fd}", target, read_only=target != PLACE)
            for fd, target in own
        ]
        groups = {str(path) for path in layout.v1.values()}
        if layout.unified:
            groups.add(str(layout.unified))
        binds += [rootfs.Bind(path, read_only=False) for path in sorted(groups)]
        rootfs.enter(binds, tmp_bytes=64 * 1024)
        bounds = f"mode=1777,size={TMP_BYTES},nr_inodes={TMP_INODES}"
        guarded = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
        libc.mount("tmpfs", "/tmp", "tmpfs", guarded, bounds)  # noqa: S108  (the sandbox's own)
        libc.mount("/dev", "/dev", "", libc.MS_BIND | libc.MS_REC)  # else ours to write, rootless
        rootfs.remount_read_only("/dev", extra=0)
        for fd, _ in (*meant, *own):
            os.close(fd)
        flags = libc.MS_REMOUNT | libc.MS_BIND | libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
        libc.mount("none", PLACE, "", flags)
        names = "root:x:0:0:root:/:/usr/sbin/nologin\n"
        Path("/etc/passwd").write_text(f"{names}fetch:x:{job.uid}:{job.gid}:fetch:/:/bin/false\n")

    def _confined(self, cgroups: cgroup.Instance, program: bytes, host: dict[str, str]) -> Done:
        job = self._job
        if not self._rootless:
            os.setgroups([])
            libc.limit_capabilities(_KEEP)
        for kind, most in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, job.work_bytes),
            (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
        ):
            hard = resource.getrlimit(kind)[1]
            value = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (value, value))
        disk = Disk(PLACE, job.work_bytes, job.work_files)
        group = cgroups.group("fetch", job.limits, OVERHEAD_PIDS)
        try:
            gate, status, output = self._spawn(group)
            try:
                init = self._prove(group, host, status)
                os.write(gate, program)  # one write into an empty pipe of 64 KiB
                os.close(gate)
                gate = -1
                self._prove_filter(init)
            except BrokenPipeError:
                pass  # bubblewrap died at the gate: what it said tells why
            except EngineError as error:
                self._why, self._control = error.cause, error.control or "sandbox"
            finally:
                if gate >= 0:
                    os.close(gate)
            self._watch(output, disk)
        finally:
            code = self._end(group)
        said = b"".join(self._said)[-MAX_SAID:].decode(errors="replace")
        return Done(None if self._why else code, self._why, said, self._control)

    def _spawn(self, group: cgroup.Group) -> tuple[int, int, int]:
        """Start bubblewrap, which waits for its filter; returns gate, status and output."""
        gate_read, gate = os.pipe()
        status, status_write = os.pipe()
        output, output_write = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        given = (null, output_write, output_write, gate_read, status_write)
        # Above the numbers they get, or one would close another (POSIX: actions run in order).
        high = [os.dup(fd) if fd < len(given) else fd for fd in given]
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(high)]
        try:
            with accounts.identity(self._job.uid, self._job.gid):
                self._pid = os.posix_spawn(bwrap.BWRAP, self._argv(), {}, file_actions=actions)
        finally:
            for fd in {*given, *high}:
                os.close(fd)
        self._pidfd = os.pidfd_open(self._pid)
        os.set_blocking(status, False)
        os.set_blocking(output, False)
        group.attach(self._pid)
        return gate, status, output

    def _argv(self) -> list[str]:
        job = self._job
        argv = ["bwrap", "--unshare-all", *(["--share-net"] if job.network else [])]
        argv += ["--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
        argv += ["--cap-drop", "ALL", "--uid", str(job.uid), "--gid", str(job.gid)]
        argv += ["--hostname", "fetch", "--seccomp", str(_GATE_FD)]
        argv += ["--json-status-fd", str(_STATUS_FD), "--ro-bind", "/", "/"]
        argv += ["--dev-bind", "/dev", "/dev", "--proc", "/proc"]
        argv += ["--bind", "/tmp", "/tmp", "--bind", PLACE, PLACE]  # noqa: S108
        for path in ("/sys", *_HIDDEN):
            if os.path.isdir(path):
                argv += ["--size", "4096", "--tmpfs", path, "--remount-ro", path]
        for _, target in job.binds:
            for path in (f"{target}/{name}" for name in _SETTINGS):
                if os.path.isfile(path):
                    argv += ["--ro-bind", "/dev/null", path]
        for name, value in job.environment:
            argv += ["--setenv", name, value]
        return [*argv, "--chdir", PLACE, "--", *job.argv]

    def _prove(self, group: cgroup.Group, host: dict[str, str], status: int) -> int:
        """Who it is, what it shares, sees and can write and what limits it, from the kernel,
        before it runs. Returns bubblewrap's init."""
        deadline, text = time.monotonic() + OPEN_SECONDS, b""
        init, wrong = -1, ["set-up"]
        while wrong:
            if time.monotonic() > deadline or pidfd.has_ended(self._pidfd):
                raise EngineError(f"bubblewrap did not finish: {wrong[0]}", control="sandbox")
            time.sleep(_POLL_SECONDS)  # mounts and limits of another process send no event
            with contextlib.suppress(BlockingIOError):
                text += os.read(status, _MAX_STATUS)
            for line in text.split(b"\n")[:-1]:
                init = json.loads(line).get("child-pid", init)
            if init > 0:
                group.attach(init)  # it was cloned before, or while, its parent was attached
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    wrong = self._wrong(init, host)
        group.read_back(init)
        return init

    def _wrong(self, init: int, host: dict[str, str]) -> list[str]:
        """What is not as it should be, yet or at all. Its capabilities end with its set-up."""
        job, found = self._job, proc.read_status(init)
        shared = shared_namespaces(init, host, {"net"} if job.network else set())
        return [
            *(["its capabilities"] if any(found.capabilities) else []),
            *(["no_new_privs"] if not found.no_new_privs else []),
            *(["its uid"] if set(found.uids) != {job.uid} else []),
            *(["its gid"] if set(found.gids) != {job.gid} else []),
            *(["its groups"] if not self._rootless and set(found.groups) - {job.gid} else []),
            *(f"it has the host's {name}" for name in shared),
            *wrong_mounts(init, PLACE, TMP_BYTES, TMP_INODES),
            *wrong_descriptors(init),
        ]

    def _prove_filter(self, init: int) -> None:
        """That the filter is loaded, which bubblewrap does last: in its init, and in the program
        before it executes it. One that has ended is not asked any more."""
        filters = proc.read_status(os.getpid()).seccomp_filters + 1
        deadline = time.monotonic() + OPEN_SECONDS
        while readback.prove_seccomp(-1, init, filters=filters) is None:
            if pidfd.has_ended(self._pidfd):
                return
            if time.monotonic() > deadline:
                raise EngineError("its seccomp filter is not loaded", control="seccomp")
            time.sleep(_POLL_SECONDS)  # nor does the loading of a filter

    def _watch(self, output: int, disk: Disk) -> None:
        """Until the program ends, or is not to go on."""
        job = self._job
        deadline = time.monotonic() + job.limits.timeout_ms / 1000
        poller = select.poll()
        for fd in (output, self._pidfd, self._channel.fileno()):
            poller.register(fd, select.POLLIN)
        look = time.monotonic() + LOOK_SECONDS
        while not self._why:
            wait = min(SPACE_SECONDS, max(0.0, deadline - time.monotonic()))
            ready = {fd for fd, _ in poller.poll(wait * 1000)}
            if output in ready and not self._hear(output):
                poller.unregister(output)
            if self._pidfd in ready:
                break
            if self._channel.fileno() in ready:  # nobody sends: whoever asked is gone
                self._why = "whoever asked for it is gone"
            if time.monotonic() >= deadline:
                self._why = f"it took more than {job.limits.timeout_ms // 1000} s"
            self._why = self._why or disk.lost()
            if time.monotonic() >= look:
                self._why = self._why or disk.named()
                look = time.monotonic() + LOOK_SECONDS
        self._why = self._why or disk.named()
        with contextlib.suppress(BlockingIOError):
            while self._hear(output):
                pass

    def _hear(self, output: int) -> bool:
        data = os.read(output, _CHUNK)
        self._said.append(data)
        while sum(map(len, self._said)) - len(self._said[0]) > MAX_SAID:
            self._said.popleft()
        return bool(data)

    def _end(self, group: cgroup.Group) -> int | None:
        """Kill what is left and wait until it is dead; the program's status."""
        group.kill()
        code: int | None = None
        if self._pid >= 0:
            pidfd.kill(self._pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        while True:  # a subreaper: bubblewrap's init and whatever it left become ours
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        while group.members():
            group.kill()
            time.sleep(_POLL_SECONDS)  # v1 tells nobody that a group is empty
        group.remove()
        return code
