"""What the supervisor is made of: each room's part, made once, from the operator's configuration.

It starts nothing, and nobody but `daemon` imports it: those two alone know every room.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

import fumehood
from fumehood.admission.admit import Admission
from fumehood.admission.authorize import Authorizer
from fumehood.admission.budgets import Budgets
from fumehood.admission.conduct import Conduct
from fumehood.admission.planner import plan
from fumehood.admission.quota import Quota
from fumehood.admission.sessions import Sessions
from fumehood.audit.anchors import Anchors
from fumehood.audit.chain import AuditLog
from fumehood.audit.content import Content
from fumehood.audit.find import find, find_plan
from fumehood.catalog.lint import lint
from fumehood.catalog.store import Catalog
from fumehood.config import Config
from fumehood.crypto.keyring import Digester, open_ring, refusal
from fumehood.crypto.ring import Periods, Ring
from fumehood.engines.fit import Unfit, unfit
from fumehood.errors import FumehoodError
from fumehood.images.pins import check_image, pin
from fumehood.kernel import fsverity, profile_files
from fumehood.launcher.clients import Launchers
from fumehood.launcher.keeper import Settings
from fumehood.model.ids import uuid7
from fumehood.model.manifest import Manifest
from fumehood.model.plan import Ceilings
from fumehood.scan import custom
from fumehood.scan.decide import Policies
from fumehood.scan.given import of_files
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.prose import instructions
from fumehood.supervisor.classifier import Classifier
from fumehood.supervisor.finishing import Finishing
from fumehood.supervisor.habits import Habits
from fumehood.supervisor.incidents import Incidents
from fumehood.supervisor.leases import Leases, divide
from fumehood.supervisor.pool import Pool
from fumehood.supervisor.pressure import Gate, look, memory_total, short_of
from fumehood.supervisor.receipts import Receipts
from fumehood.supervisor.rooms import Rooms
from fumehood.supervisor.scanners import Scanners, Tally
from fumehood.supervisor.sealing import Sealer
from fumehood.supervisor.service import Supervisor
from fumehood.supervisor.slots import Slots
from fumehood.supervisor.stops import Stops
from fumehood.supervisor.usage import Usage, steady_utc
from fumehood.supervisor.withheld import Withheld

log = structlog.get_logger("fumehood")


def ring_of(settings: Settings, config: Config) -> Ring:
    periods = Periods(config.keys.active_days, config.keys.verify_days, config.keys.warn_days)
    return open_ring(Path(settings.state), periods, settings.master, settings.master_source)


def scanners_of(settings: Settings, config: Config) -> Scanners:
    """Raises ConfigError for a rule file that does not load: the scanners could only say so."""
    custom.load(config.scan.rules)
    output = config.ceilings.to_plan().output_bytes
    return Scanners(config.scan, Path(settings.cache), output_bytes=output)


def pipeline_of(scanners: Scanners, config: Config, ring: Ring) -> Pipeline:
    _, key = ring.secret("fingerprint", 384)
    return Pipeline(
        fingerprint_key=key,
        spec=config.scan,
        search=scanners,
        secrets_given=of_files(config.scan.secrets),
    )


def compose(
    launchers: Launchers,
    audit: AuditLog,
    pipeline: Pipeline,
    settings: Settings,
    config: Config,
    ring: Ring,
    scanners: Scanners,
    sealer: Sealer,
) -> Supervisor:
    state, ceilings = Path(settings.state), settings.ceilings
    rootless = ceilings.uid_own >= 0
    own, leased = divide(ceilings)
    digest_of = _profile_digest(ceilings)
    catalog = Catalog(
        state,
        None if rootless else own,
        os.geteuid(),
        sealer=sealer,
        frozen=lambda fd: fsverity.measured(fd) is not None,
        profile=partial(_known_digest, digest_of),
    )
    for problem in catalog.problems:
        log.error("a row of the catalog cannot be read", problem=problem)
    bad = catalog.verify()
    for tool in bad:
        log.error("tool quarantined", tool=tool.manifest.name, changed=tool.notes)
        audit.append(
            "tool.quarantined",
            {
                "tool": tool.manifest.name,
                "tool_version": tool.manifest.version,
                "tool_digest": tool.digest,
                "changed": tool.notes,
            },
        )
    images = Path(ceilings.image_store) if ceilings.image_store else None
    admission = Admission(
        catalog.get,
        authorizer=Authorizer(config, own_uid=os.geteuid() if rootless else None),
        quota=Quota(
            per_caller=config.per_caller,
            per_session=config.per_session,
            rates=config.rates,
            conduct=Conduct(time.monotonic, enabled=config.adaptive, tighten_at=config.tighten_at),
        ),
        budgets=Budgets(config.budgets, Usage(state / "usage.sqlite3"), steady_utc()),
        sessions=Sessions(config.sessions.lifetime, config.sessions.per_caller, time.monotonic),
        lint=partial(
            lint,
            ceilings=ceilings,
            profiles=profile_files.find(ceilings.profiles, ceilings.own_profiles),
            engines=settings.engines,
            unfit=_unfit(settings),
        ),
        pin=partial(pin, images),
        check_image=partial(check_image, images),
    )
    digester = Digester(ring)
    anchors = Anchors(
        state / "audit", audit.chain, lambda: audit.last,
        lambda: ring.public_keys("audit", ended=True),
    )  # fmt: skip
    records = partial(find, state / "audit", holds=anchors.holds)
    receipts = Receipts(
        ring,
        digester,
        audit,
        records,
        partial(find_plan, state / "audit", holds=anchors.holds),
        admission.authorizer.is_operator,
        fumehood.__version__,
    )
    supervisor = Supervisor(
        Rooms(
            catalog=catalog,
            admission=admission,
            config=config,
            plan=partial(
                plan,
                ceilings=ceilings,
                profile_digest=digest_of,
                engines=settings.engines,
                own_gid=os.getegid(),
                log_denials=config.behaviour.log_denials,
            ),
            slots=Slots(
                config.sandboxes,
                config.queue,
                config.queue_timeout,
                per_tool=config.per_tool,
                memory=memory_total() * config.pressure.memory_commit // 100,
            ),
            gate=Gate(
                audit,
                lambda: refusal(ring) or short_of(look(state), config.pressure, config.storage),
            ),
            launchers=launchers,
            pool=Pool(
                launchers,
                uuid7,
                most=config.warm,
                most_each=config.warm_per_tool,
                leases=Leases(*leased),
            ),
            pipeline=pipeline,
            audit=audit,
            records=records,
            digest=digester,
            habits=Habits(
                state / "behaviour",
                least=config.behaviour.samples,
                deviations=config.behaviour.deviations,
            ),
            stops=Stops(state / "stops.json"),
            incidents=Incidents(state / "incidents", config.incidents.rules, ring, audit.append),
            receipts=receipts,
            finishing=_finishing(config, state, ring, receipts, scanners.tally),
            find=partial(instructions, scanners),
        ),
        fumehood.__version__,
    )
    _notify(supervisor, config, state / "notices")
    for tool in bad:
        supervisor.response.broken(tool, "; ".join(tool.notes))
    return supervisor


def _notify(supervisor: Supervisor, config: Config, folder: Path) -> None:
    """Let incidents be told to whom the configuration names, first what a last run left untold."""
    if not (config.incidents.notify or config.incidents.webhook):
        return
    from fumehood.supervisor.notices import Notices, channels

    notices = Notices(folder, channels(config.incidents), supervisor.response.told)
    supervisor.response.notices = notices
    notices.start()


def _finishing(
    config: Config, state: Path, ring: Ring, receipts: Receipts, tally: Tally
) -> Finishing:
    spec = config.scan
    return Finishing(
        spec,
        receipts,
        Content(ring, config.audit.content),
        Withheld(
            state / "withheld", ring, most_bytes=spec.keep_withheld, days=spec.keep_withheld_days
        ),
        Classifier(spec.classifier, Policies(spec), tally.told) if spec.classifier else None,
    )


def _unfit(settings: Settings) -> Callable[[Manifest], Unfit | None]:
    """What a tool's engine has against it, told when the tool is registered."""
    ceilings = settings.ceilings
    profile = partial(profile_files.load, ceilings.profiles, ceilings.own_profiles)

    def look(manifest: Manifest) -> Unfit | None:
        return unfit(
            manifest.run.engine or settings.engines[0],
            manifest.run.runtime or "",
            manifest.seccomp,
            runtimes=settings.docker.runtimes,
            accepted=ceilings.accepted,
            profile=profile,
        )

    return look


def _profile_digest(ceilings: Ceilings) -> Callable[[str], str]:
    """The digest of a profile by name, as it was when this process started."""

    @functools.cache
    def digest(name: str) -> str:
        return profile_files.load(ceilings.profiles, ceilings.own_profiles, name).digest

    return digest


def _known_digest(digest_of: Callable[[str], str], name: str) -> str:
    try:
        return digest_of(name)
    except FumehoodError:  # there is none: the planner says so, too
        return ""
