"""`fumehood serve`: reads the configuration, makes the socket, and becomes the keeper.

Everything that needs the operator's files is decided here, once; the processes that follow get
plain values and descriptors.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import grp
import os
import pwd
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn, get_args

import typer

from fumehood.cli import activation
from fumehood.cli.options import ConfigOption, SocketOption, StateOption, chosen
from fumehood.cli.present import say
from fumehood.errors import ConfigError, EngineError, UsageError
from fumehood.kernel import profile_files
from fumehood.launcher.logline import log_line
from fumehood.model.tree import UNSEALED
from fumehood.places import Places, cache

if TYPE_CHECKING:
    from fumehood.config import Config
    from fumehood.launcher.keeper import Settings

STATE_MODE: Final = 0o700
STORE_MODE: Final = 0o755
"""Sandboxes read the store as accounts of their own; no other account gets past the state."""
IMAGES: Final = ("host",)
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Lent:
    """What a private daemon uses of another: its image store, which it does not verify again, and
    profiles in place of the operator's. place: the folder that holds its state and its socket
    and nothing of anybody else's, removed at its end."""

    images: Path | None = None
    profiles: Path | None = None
    place: Path | None = None


AcceptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-unenforced",
        metavar="CONTROL[,CONTROL]",
        help="Accept by name what this host cannot enforce, besides the configuration's list: "
        "service_account, memory, cpu, pids, scratch. Each result names them.",
        show_default=False,
    ),
]


def command(
    socket: SocketOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    accept_unenforced: AcceptOption = None,
    ready_fd: Annotated[int, typer.Option("--ready-fd", hidden=True)] = -1,
    with_parent: Annotated[int, typer.Option("--with-parent", hidden=True)] = -1,
    place: Annotated[Path | None, typer.Option("--place", hidden=True)] = None,
    images: Annotated[Path | None, typer.Option("--images", hidden=True)] = None,
    profiles: Annotated[Path | None, typer.Option("--profiles", hidden=True)] = None,
) -> None:
    """Run the daemon in the foreground; Ctrl-C or SIGTERM stops it and everything it runs.

    As root it starts a small privileged launcher and an unprivileged supervisor, and each tool
    gets a service account of its own. As an ordinary user (rootless) what cannot be enforced
    must be accepted by name.
    """
    if with_parent >= 0:
        _die_with(with_parent)
    places = chosen(socket, state, config)
    if place is not None and {places.socket.parent, places.state.parent} != {place}:
        raise UsageError(f"{place} is not what holds state and socket", "leave --place out")
    lent = Lent(images, profiles, place)
    start(places, accept=accept_unenforced or (), ready=ready_fd, lent=lent)


def start(
    places: Places, *, accept: Sequence[str], ready: int, lent: Lent | None = None
) -> NoReturn:
    """Check, say what holds here, and become the keeper. Raises FumehoodError before that."""
    # The large imports of this command: configuration models and the socket's maker.
    from fumehood.gateway.socket import listen
    from fumehood.launcher import keeper

    config = configuration(places, accept)
    settings = prepare(places, config, lent or Lent())
    manager = activation.manager(os.environ, pid=os.getpid(), grace=config.shutdown.grace)
    stopping = config.shutdown.grace + activation.STOP_MARGIN_SECONDS
    settings = replace(settings, manager=manager, stop_seconds=stopping)
    root = os.geteuid() == 0
    listener = activation.listener(os.environ, pid=os.getpid())
    if listener is not None:  # the service manager's own, also after our end
        settings = replace(settings, socket="")
        places = replace(places, socket=Path(activation.path(listener)))
    else:
        _make_parent(places.socket, root=root)
        listener = listen(places.socket, config.socket_group if root else None)
    tell(summary(places, config))
    keeper.exec_keeper(settings, listener=listener.detach(), ready=ready)


def configuration(places: Places, accept: Sequence[str] = ()) -> Config:
    """The operator's configuration, with the controls accepted on the command line added."""
    from fumehood.config import Control, load

    config = load(places.config, trusted_uid=os.geteuid(), required=places.config_named)
    names = {name for item in accept for name in item.split(",") if name}
    if unknown := sorted(names - set(get_args(Control))):
        raise UsageError(
            f"--accept-unenforced: there is no control {unknown[0]!r}",
            f"known are {', '.join(get_args(Control))}",
        )
    accepted = tuple(sorted(names | set(config.accept_unenforced)))
    return config.model_copy(update={"accept_unenforced": accepted})


def prepare(places: Places, config: Config, lent: Lent = Lent()) -> Settings:
    """What the keeper needs, with the state directory made. Raises ConfigError, EngineError."""
    from fumehood.cli import checks
    from fumehood.cli.key import master_of
    from fumehood.engines import bwrap
    from fumehood.launcher.keeper import Settings
    from fumehood.model.plan import Ceilings, DockerSettings
    from fumehood.resources import profile_directory

    if "bubblewrap" in config.engines:
        # Before anything is made; the launcher asks again.
        bwrap.require_fixed(bwrap.installed(), config.accept_unenforced)
    root = os.geteuid() == 0
    if "docker" in config.engines and not root:
        raise ConfigError(
            "engines: docker needs root", "run Fumehood as root, or leave docker out of engines"
        )
    uid, gid, groups = supervisor_account(config) if root else (-1, -1, ())
    if root:  # of the accounts of tools the launchers ask
        checks.libraries_account(config.accounts)
    make_state(places.state, uid, gid)
    image_store = lent.images or places.state / "images"
    if lent.images is None:
        _verify_images(image_store)
    ceilings = Ceilings(
        uid_first=config.accounts.first if root else 0,
        uid_count=config.accounts.count if root else 0,
        uid_own=-1 if root else os.geteuid(),
        store=str(places.state / "store"),
        profiles=str(profile_directory()),
        images=IMAGES,
        limits=config.ceilings.to_plan(),
        # Those that are dying while others open count too.
        sandboxes=2 * (config.sandboxes + config.warm),
        accepted=tuple(sorted(config.accept_unenforced)),
        image_store=str(image_store),
        own_profiles=own_profiles(lent.profiles or places.config.parent / profile_files.FOLDER),
    )
    master = master_of(config.keys)
    return Settings(
        ceilings=ceilings,
        supervisor_uid=uid,
        supervisor_gid=gid,
        supervisor_groups=groups,
        state=str(places.state),
        cache=str(_make_cache(places.state, uid, gid)),
        socket=str(places.socket),
        config=config.model_dump_json(),
        config_path=str(places.config),
        engines=config.engines,
        docker=DockerSettings(config.docker.socket, config.docker.runtimes),
        master=base64.b64encode(master.bytes).decode() if master else "",
        master_source=master.source if master else "",
        files=_files(config),
        place=str(lent.place or ""),
        tools_bytes=config.storage.tools,
    )


def _files(config: Config) -> tuple[str, ...]:
    """What the supervisor reads besides its own state."""
    classifier = config.scan.classifier
    named = [*config.scan.rules, *config.scan.secrets, config.forward.ca, config.forward.token_file]
    if classifier is not None:
        named += [classifier.key_file, classifier.ca]
    return tuple(path for path in named if path.startswith("/"))


def own_profiles(directory: Path) -> str:
    """The operator's profiles, where there are any; raises ConfigError for what is not safe."""
    from fumehood.resources import profile_directory

    if not os.path.lexists(directory):
        return ""
    try:
        profile_files.find(str(profile_directory()), str(directory))
    except EngineError as error:
        raise ConfigError(error.cause, error.remedy) from None
    return str(directory)


def _verify_images(directory: Path) -> None:
    """Make the store where there is none; take away what is not what its digest promises."""
    from fumehood.images.store import ImageStore

    store = ImageStore(directory)
    store.create()
    for problem in store.quarantine():
        where = f"/{problem.path} ".replace("\n", "\\n") if problem.path else ""
        say(f"image {problem.digest} is not used: {where}{problem.what}; import it again")


def supervisor_account(config: Config) -> tuple[int, int, tuple[int, ...]]:
    """UID, GID and further groups that the supervisor drops to; raises ConfigError."""
    name = config.supervisor_user
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(
            f"supervisor_user: there is no user {name!r}",
            f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}",
        ) from None
    if account.pw_uid == 0:
        raise ConfigError("supervisor_user: the supervisor may not be root", "name another user")
    try:
        group = grp.getgrnam(config.socket_group)
    except KeyError:
        raise ConfigError(
            f"socket_group: there is no group {config.socket_group!r}",
            f"groupadd --system {config.socket_group}",
        ) from None
    return account.pw_uid, account.pw_gid, (group.gr_gid,)


def make_state(state: Path, uid: int, gid: int) -> None:
    """The state directory, the supervisor's own and nobody else's; and the store in it, which is
    ours: only a sealer writes there."""
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        with _own_directory(state, uid, gid, STATE_MODE) as top:
            _set_aside(top, uid)
            with _own_directory(state / "store", -1, -1, STORE_MODE, parent=top):
                pass
    except OSError as error:
        raise ConfigError(f"{state}: {error.strerror}", "choose another --state") from None


def _set_aside(state: int, uid: int) -> None:
    """A store that the supervisor could write, as versions up to 0.1 made it: the catalog has what
    is sound in it stored again, in one of ours. Whatever it is, a rename follows no link."""
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat("store", dir_fd=state)
        if uid > 0 and found.st_uid == uid and stat.S_ISDIR(found.st_mode):
            os.rename("store", UNSEALED, src_dir_fd=state, dst_dir_fd=state)


def _make_cache(state: Path, uid: int, gid: int) -> Path:
    """The supervisor's own cache, shared by all its daemons; inside the state where that fails."""
    wanted = cache(os.environ, os.geteuid())
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        with _own_directory(wanted, uid, gid):
            return wanted
    except (OSError, ConfigError):
        pass
    inside = state / "cache"
    try:
        with (
            _own_directory(state, uid, gid) as top,
            _own_directory(inside, uid, gid, parent=top),
        ):
            return inside
    except OSError as error:
        raise ConfigError(f"{inside}: {error.strerror}", "choose another --state") from None


@contextlib.contextmanager
def _own_directory(
    path: Path, uid: int, gid: int, mode: int | None = None, *, parent: int | None = None
) -> Iterator[int]:
    """A descriptor of `path`, made if need be and given to `uid`, where -1 is ourselves.

    What stands below `parent`, a descriptor, can be exchanged by the supervisor's account at any
    time: no link is followed, and what is changed is what was checked.

    Args:
        mode: what it gets; None leaves the mode it has, which nobody else may write by.

    Raises:
        ConfigError: it is no directory, or somebody else's.
    """
    name = path if parent is None else path.name
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, STATE_MODE, dir_fd=parent)
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        what = "is a link" if path.is_symlink() else "is no folder"
        raise ConfigError(
            f"{path} {what}", f"move {path} away, or name another plain folder with --state"
        ) from None
    try:
        found = os.fstat(fd)
        owner = os.geteuid() if uid < 0 else uid
        if found.st_uid not in (os.geteuid(), owner):
            raise ConfigError(
                f"{path} belongs to UID {found.st_uid}, not to {owner}",
                f"see what is in it, then `chown -R {owner} {path}`, or choose another --state",
            )
        if mode is not None:
            os.fchmod(fd, mode)
        elif found.st_mode & 0o022:
            raise ConfigError(f"{path} can be written by others", f"run `chmod go-w {path}`")
        if found.st_uid != owner:
            os.fchown(fd, owner, gid)
        yield fd
    finally:
        os.close(fd)


def _make_parent(socket: Path, *, root: bool) -> None:
    """The socket's own folder; /run is empty after each start of the machine."""
    try:
        socket.parent.mkdir(mode=0o755 if root else 0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{socket.parent}: {error.strerror}", "choose another --socket") from None


def tell(told: Mapping[str, str]) -> None:
    """Lines for people, and for whoever collects the log one in the form of all others."""
    if sys.stderr.isatty():
        for name, value in told.items():
            say(f"{name:<12}{value}")
    else:
        sys.stderr.write(log_line("starting", "info", **told))


def summary(places: Places, config: Config) -> dict[str, str]:
    """What holds on this host, for the operator who starts the daemon."""
    from fumehood.cli.cgroups import limitable

    mode, controllers = limitable()
    if os.geteuid() == 0:
        accounts = config.accounts
        who = f"each tool its own account, UIDs from {accounts.first}, {accounts.count} of them"
    else:
        who = f"rootless: every tool runs as UID {os.geteuid()}"
    told = {
        "socket": str(places.socket),
        "state": str(places.state),
        "engines": f"{', '.join(config.engines)}; {who}",
        "cgroup": f"{mode}: {', '.join(controllers) or 'nothing'} can be limited",
    }
    if config.accept_unenforced:
        told["accepted"] = f"not enforced here: {', '.join(config.accept_unenforced)}"
    return told


def _die_with(parent: int) -> None:
    """A private daemon ends with the command that started it, however that ends (prctl(2))."""
    import signal

    from fumehood.kernel import libc

    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise UsageError("the command that started this daemon has ended", "start it again")
