"""Tries to reach anything beyond its sandbox. It sends nothing when it sees a real interface:
then the attempt has succeeded already, and saying so is enough."""

import contextlib
import socket

from attempts import attempt, main, name

SECONDS = 2.0


def interfaces(_: object = None) -> list[str]:
    with open("/proc/net/dev") as file:
        return [line.split(":")[0].strip() for line in file.readlines()[2:]]


def stream(family: int, address: object) -> None:
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as s:
        s.settimeout(SECONDS)
        s.connect(address)  # type: ignore[arg-type]  # its shape depends on the family
        s.send(b"reached")


def datagram(family: int, address: object) -> None:
    with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as s:
        s.settimeout(SECONDS)
        s.connect(address)  # type: ignore[arg-type]  # as above
        s.send(b"reached")


def resolve(host: str) -> str:
    try:
        socket.getaddrinfo(host, 80)
    except OSError as error:
        return f"unresolved {error.errno}"
    return "ok"


def reach(arguments: dict[str, object]) -> dict[str, object]:
    """Every way out; `port` and `abstract` are listeners of the host that wait for this."""
    found = interfaces()
    if found not in ([], ["lo"]):
        return {"interfaces": found}
    port, abstract = int(str(arguments["port"])), str(arguments["abstract"])
    inet, inet6, unix = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
    return {
        "interfaces": found,
        "loopback tcp": attempt(lambda: stream(inet, ("127.0.0.1", port))),
        "loopback tcp6": attempt(lambda: stream(inet6, ("::1", port))),
        "loopback udp": attempt(lambda: datagram(inet, ("127.0.0.1", port))),
        "any address": attempt(lambda: stream(inet, ("0.0.0.0", port))),
        "abstract unix": attempt(lambda: stream(unix, "\0" + abstract)),
        "abstract unix datagram": attempt(lambda: datagram(unix, "\0" + abstract)),
        "metadata": attempt(lambda: stream(inet, ("169.254.169.254", 80))),
        "metadata6": attempt(lambda: stream(inet6, ("fe80::a9fe:a9fe", 80))),
        "dns": resolve("localhost.example.invalid"),
        "dns datagram": attempt(lambda: datagram(inet, ("127.0.0.53", 53))),
        "listen": attempt(lambda: listen(inet, ("127.0.0.1", 0))),
    }


def listen(family: int, address: object) -> None:
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as s:
        s.bind(address)  # type: ignore[arg-type]  # as above
        s.listen()


def families(_: object) -> dict[str, str]:
    """Every family there is, with every type: none is to be had."""
    answers = {}
    for family in range(64):
        for kind in (1, 2, 3, 5):
            try:
                socket.socket(family, kind).close()
                answers[f"{family}/{kind}"] = "ok"
            except OSError as error:
                answers[f"{family}/{kind}"] = name(error.errno)
    return answers


if __name__ == "__main__":
    main({"reach": reach, "families": families})
