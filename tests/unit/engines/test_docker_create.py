"""The container that Docker is asked for: every field that a plan decides, and nothing else's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from fumehood.engines.docker_create import INIT, LABEL_INSTANCE, Surroundings, container
from fumehood.engines.docker_seccomp import known_calls, seccomp_document
from fumehood.model.plan import Mount
from support.docker import docker_plan

HERE = Surroundings(
    image="sha256:" + "1" * 64,
    image_environment=("PATH", "LD_PRELOAD", "HOSTNAME"),
    binds={"/usr": "/usr"},
    scratch="/run/fumehood-docker/fumehood-x",
    parent="/fumehood-x/aaaaaaaa",
    runtime="runc",
    seccomp="{}",
    init="/usr/bin/tini-static",
    empty="/run/fumehood-docker/fumehood-x/empty",
    instance="fumehood-x",
    remapped=False,
)


def body(**changes: object) -> dict[str, Any]:
    return container("aaaaaaaa", docker_plan("--privileged", "x", **changes), HERE)


def mounts(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["Target"]: item for item in found["HostConfig"]["Mounts"]}


def test_the_plans_program_stands_alone_whatever_the_image_says() -> None:
    found = body()
    assert found["Entrypoint"] == [INIT, "--", "--privileged", "x"]
    assert found["Cmd"] == []
    plan = docker_plan()
    assert found["User"] == f"{plan.uid}:{plan.gid}"
    assert found["Healthcheck"] == {"Test": ["NONE"]}
    assert found["Image"] == HERE.image


def test_variables_of_the_image_and_of_docker_are_unset() -> None:
    given = body()["Env"]
    assert [item for item in given if "=" not in item] == ["HOSTNAME", "LD_PRELOAD"]
    assert "PATH=/usr/bin:/bin" in given


def test_nothing_is_left_to_defaults_that_a_plan_decides() -> None:
    host = body()["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert (host["Privileged"], host["CapAdd"], host["CapDrop"]) == (False, [], ["ALL"])
    assert "no-new-privileges" in host["SecurityOpt"]
    assert (host["IpcMode"], host["CgroupnsMode"]) == ("none", "private")
    assert host["Memory"] == host["MemorySwap"]
    assert host["LogConfig"]["Type"] == "none"
    assert (host["AutoRemove"], host["RestartPolicy"]["Name"]) == (False, "no")
    assert host["OomScoreAdj"] > 0
    assert {item["Name"]: item["Hard"] for item in host["Ulimits"]} == {
        "core": 0,
        "memlock": 65_536,
        "msgqueue": 0,
        "nofile": 4_096,
    }


def test_dockers_own_limits_leave_room_for_the_runtime_only() -> None:
    plan = docker_plan()
    host = body()["HostConfig"]
    assert 0 < host["Memory"] - plan.limits.memory_bytes <= 64 << 20
    assert 0 < host["PidsLimit"] - plan.limits.pids <= 64
    limits = replace(plan.limits, cpu_millis=250)
    slow = body(limits=limits)["HostConfig"]
    assert slow["CpuQuota"] / slow["CpuPeriod"] == 0.25


def test_mounts_are_the_plans_and_all_of_them_bounded_to_one_file_system() -> None:
    files = Mount("tool", "sha384:" + "a" * 96, "/tool", True)
    found = mounts(body(mounts=(files, *docker_plan().mounts)))
    assert set(found) == {
        "/usr", INIT, "/etc/resolv.conf", "/tool", "/tmp", "/out", "/dev/shm",
    }  # fmt: skip
    assert {target for target, item in found.items() if not item["ReadOnly"]} == {
        "/tmp",
        "/out",
        "/dev/shm",
    }
    assert found["/tool"]["Source"] == "/run/fumehood-docker/fumehood-x/aaaaaaaa.tool"
    assert found["/out"]["Source"] == "/run/fumehood-docker/fumehood-x/aaaaaaaa/out"
    assert all(item["BindOptions"]["NonRecursive"] for item in found.values())


def test_the_host_itself_is_nowhere_masked_paths_included() -> None:
    host = body()["HostConfig"]
    assert {"/sys", "/dev/pts", "/dev/mqueue", "/proc/kcore"} <= set(host["MaskedPaths"])
    assert "/proc/sysrq-trigger" in host["ReadonlyPaths"]


def test_labels_name_whom_a_container_belongs_to() -> None:
    assert body()["Labels"][LABEL_INSTANCE] == "fumehood-x"


def test_a_default_errno_is_written_out_for_daemons_that_drop_it() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}],
    }
    names = known_calls()
    assert {"read", "openat2", "clone3"} <= names
    document = json.loads(seccomp_document(json.dumps(profile).encode(), names))
    added = document["syscalls"][-1]
    assert (added["action"], added["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert set(added["names"]) == names - {"read", "write"}


def test_a_profile_without_a_default_errno_stays_as_it_is() -> None:
    profile = {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": []}
    assert json.loads(seccomp_document(json.dumps(profile).encode(), known_calls())) == profile
