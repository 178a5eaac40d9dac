"""The compute profile is enough for the programs that tools are made of, each run under it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fumehood.kernel import seccomp
from fumehood.resources import profile_directory
from unit.kernel import confined

PYTHON = """
import asyncio, concurrent.futures, ctypes, multiprocessing, os, shutil, socket, sqlite3
import subprocess, tempfile, threading
said = []
thread = threading.Thread(target=said.append, args=("thread",)); thread.start(); thread.join()
said.append(subprocess.run(["sh", "-c", "echo child"], capture_output=True, text=True).stdout)
async def wait():
    process = await asyncio.create_subprocess_exec("echo", "async", stdout=-1)
    return (await process.communicate())[0].decode()
said.append(asyncio.run(wait()))
a, b = socket.socketpair(); a.sendall(b"pair"); said.append(b.recv(9).decode())
said.append(str(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)(6)))
with tempfile.TemporaryDirectory() as d:
    database = sqlite3.connect(d + "/x.db")
    database.execute("pragma journal_mode=wal")
    database.execute("create table t (a)"); database.execute("insert into t values (8)")
    database.commit(); said.append(str(database.execute("select a from t").fetchone()[0]))
    shutil.copy2(d + "/x.db", d + "/y.db"); os.mkfifo(d + "/fifo")
    shutil.copytree("/etc/default", d + "/t")
reader, writer = multiprocessing.Pipe(); writer.send("pipe"); said.append(reader.recv())
try: socket.socket()
except PermissionError: said.append("no socket")
print(" ".join(x.strip() for x in said))
"""

NODE = """
const cp = require("child_process"), fs = require("fs"), os = require("os"), zlib = require("zlib");
const { Worker } = require("worker_threads");
const dir = fs.mkdtempSync(os.tmpdir() + "/n"), said = [];
said.push(cp.execSync("echo child").toString().trim());
fs.writeFileSync(dir + "/f", "file"); said.push(fs.readFileSync(dir + "/f", "utf8"));
said.push(zlib.gunzipSync(zlib.gzipSync("zip")).toString()); fs.watch(dir).close();
const child = cp.spawn("cat"); child.stdout.on("data", (d) => {
  said.push(d.toString());
  new Worker('require("worker_threads").parentPort.postMessage("worker")', { eval: true })
    .on("message", (m) => {
      fs.rmSync(dir, { recursive: true });
      console.log([...said, m].join(" "));
    });
});
child.stdin.end("pair");
"""

PROGRAMS = {
    "python": ([sys.executable, "-c", PYTHON], "", "thread child async pair 7 8 pipe no socket\n"),
    "node": (["node", "-e", NODE], "", "child file zip pair worker\n"),
    "bash": (
        ["bash", "-c", 'x=$(echo a); (exit 3); echo "$x $? $(cat <(echo b))" | tr a-z A-Z'],
        "",
        "A 3 B\n",
    ),
    "dash": (["dash", "-c", "for i in 1 2; do echo $i & wait; done | wc -l"], "", "2\n"),
    "awk": (["awk", "{ n += $1 } END { print n }"], "1\n2\n", "3\n"),
    "grep": (["grep", "-c", "b"], "ab\ncd\n", "1\n"),
    "sed": (["sh", "-c", "cat > f; sed -i s/a/b/ f; cat f"], "a\n", "b\n"),
    "jq": (["jq", "-c", ".a[1]"], '{"a": [1, {"b": 2}]}', '{"b":2}\n'),
    "sort": (["sort", "-n", "--parallel=2", "-S", "1M"], "10\n9\n", "9\n10\n"),
    "git": (
        ["sh", "-c", "echo a > x; echo b > y; git diff --no-index x y | tail -n 2"],
        "",
        "-a\n+b\n",
    ),
    "tar": (
        ["sh", "-c", "mkdir d; echo hello > d/f; tar czf t.gz d; rm -r d; tar xzf t.gz; cat d/f"],
        "",
        "hello\n",
    ),
    "gzip": (["sh", "-c", "gzip | gzip -d"], "abc\n", "abc\n"),
    "xz": (["sh", "-c", "xz -T2 | xz -d"], "abc\n", "abc\n"),
    "sqlite3": (
        ["sqlite3", "a.db"],
        "create table t(a); insert into t values(5); select * from t;",
        "5\n",
    ),
    "file": (
        ["file", "--brief", "/bin/sh", "--mime-type", "-L"],
        "",
        "application/x-pie-executable\n",
    ),
    "coreutils": (
        [
            "sh",
            "-c",
            "echo 1 > a; cp -a a b; mv b c; ln -s c d; mkfifo p; install -m 700 c e; chmod 600 e;"
            "touch -d yesterday e; ls -l --color=never | wc -l; stat -c %a e; timeout 5 sleep 0.01;"
            "truncate -s 1M big; split -n 4 big; dd if=big bs=1k count=1 2>/dev/null | sha256sum",
        ],
        "",
        "6\n600\n5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef  -\n",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("profile", ["compute", "network"])
def test_it_is_enough_for(name: str, profile: str, tmp_path: Path) -> None:
    argv, given, expected = PROGRAMS[name]
    if profile == "network":
        expected = expected.replace(" no socket", "")
    assert confine(profile, argv, given, tmp_path) == expected


STATIC = """
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *thread(void *word) { return strdup(word); }
int main(void) {
  char line[64]; void *said; pthread_t t;
  if (!fgets(line, sizeof line, stdin)) return 1;
  pthread_create(&t, 0, thread, "thread"); pthread_join(t, &said);
  memset(malloc(8 << 20), 1, 8 << 20);
  FILE *names = fopen("/proc/self/comm", "r");
  printf("%s %d %d %s", (char *)said, names != 0, open("x", O_WRONLY | O_CREAT, 0600), line);
  fflush(stdout);
  return fork() == -1 ? 0 : 2;
}
"""


def test_strict_is_enough_for_a_static_program(tmp_path: Path) -> None:
    (tmp_path / "s.c").write_text(STATIC)
    subprocess.run(
        ["gcc", "-static", "-pthread", "-o", tmp_path / "s", tmp_path / "s.c"], check=True
    )
    assert confine("strict", [str(tmp_path / "s")], "in\n", tmp_path) == "thread 1 -1 in\n"


def test_strict_is_too_little_for_a_dynamic_one(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        confine("strict", ["cat"], "in\n", tmp_path)
    assert caught.value.returncode == 127


def confine(profile: str, argv: list[str], given: str, cwd: Path) -> str:
    filter_file = cwd.parent / f"{cwd.name}.bpf"  # not among the files that the program sees
    filter_file.write_bytes(
        seccomp.compile_bpf(seccomp.load_named(str(profile_directory()), profile))
    )
    done = subprocess.run(
        [sys.executable, "-I", confined.__file__, "exec", str(filter_file), *argv],
        input=given,
        cwd=cwd,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
