"""Attempts one hostile thing, as a tool that was taken over would; the sandbox must stop it."""

import json
import os
import pathlib
import secrets
import socket
import string
import sys
import time


def attempt(what, function, *arguments):
    try:
        print(f"{what}: it worked! {function(*arguments)}")
    except OSError as error:
        print(f"{what}: {error.strerror or error}")


def network():
    for address in (("127.0.0.1", 22), ("192.0.2.1", 80), ("169.254.169.254", 80)):
        attempt(f"connect to {address[0]}", socket.create_connection, address, 1)
    attempt("look a name up", socket.getaddrinfo, "example.org", 443)


def files():
    attempt("read /etc/shadow", pathlib.Path("/etc/shadow").read_text)
    attempt("read /root", os.listdir, "/root")
    attempt("write /usr/bin/ls", pathlib.Path("/usr/bin/ls").write_bytes, b"")
    attempt("become root", os.setuid, 0)


def memory():
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1) * (8 << 20)))


def forks():
    children = 0
    try:
        while True:
            if os.fork() == 0:
                time.sleep(60)
            children += 1
    except BlockingIOError:
        print(f"fork: refused after {children} children")


def sleep():
    time.sleep(3600)


def secret():
    def made_up(letters, count):
        return "".join(secrets.choice(letters) for _ in range(count))

    print("aws_access_key_id = AKIA" + made_up("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16))
    print("aws_secret_access_key = " + made_up(string.ascii_letters + string.digits, 40))


kind = json.load(sys.stdin)["kind"]
{f.__name__: f for f in (network, files, memory, forks, sleep, secret)}[kind]()
