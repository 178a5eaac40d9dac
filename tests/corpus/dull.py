"""What machines print by the megabyte and nobody keeps secret: locks of packages, digests, public
keys, minified code, identifiers, examples of manuals."""

from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Callable, Iterator
from typing import Final

from corpus.sample import Sample

A: Final = string.ascii_letters + string.digits
L: Final = string.ascii_lowercase + string.digits
H: Final = "0123456789abcdef"
_pick = random.Random(65537)
_NAMES: Final = ("left-pad", "requests", "serde", "tokio", "lodash", "secret-service", "token-bucket", "passport", "auth0-js", "key-tree", "jsonwebtoken")  # fmt: skip


def r(count: int, letters: str = A) -> str:
    return "".join(_pick.choice(letters) for _ in range(count))


def b64(count: int) -> str:
    return base64.b64encode(_pick.randbytes(count)).decode()


def _version() -> str:
    return ".".join(str(_pick.randrange(30)) for _ in range(3))


def _each(form: Callable[[str], str], count: int = 12) -> str:
    return "".join(form(_pick.choice(_NAMES)) for _ in range(count))


def _uuid() -> str:
    return str(uuid.UUID(int=_pick.getrandbits(128), version=4))


MADE: Final[dict[str, Callable[[], str]]] = {
    "package-lock": lambda: _each(lambda n: f'    "node_modules/{n}": {{\n      "version": "{_version()}",\n      "resolved": "https://registry.example.org/{n}/-/{n}-{_version()}.tgz",\n      "integrity": "sha512-{b64(64)}"\n    }},\n'),
    "yarn.lock": lambda: _each(lambda n: f'{n}@^{_version()}:\n  version "{_version()}"\n  resolved "https://registry.example.org/{n}/-/{n}-{_version()}.tgz#{r(40, H)}"\n  integrity sha512-{b64(64)}\n\n'),
    "pnpm-lock": lambda: _each(lambda n: f"  /{n}@{_version()}:\n    resolution: {{integrity: sha512-{b64(64)}}}\n    engines: {{node: '>=8'}}\n    dev: true\n\n"),
    "poetry.lock": lambda: _each(lambda n: f'[[package]]\nname = "{n}"\nversion = "{_version()}"\nfiles = [\n    {{file = "{n}-1.0.0.tar.gz", hash = "sha256:{r(64, H)}"}},\n]\n\n'),
    "requirements": lambda: _each(lambda n: f"{n}=={_version()} \\\n    --hash=sha256:{r(64, H)} \\\n    --hash=sha256:{r(64, H)}\n"),
    "Cargo.lock": lambda: _each(lambda n: f'[[package]]\nname = "{n}"\nversion = "{_version()}"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\nchecksum = "{r(64, H)}"\n\n'),
    "go.sum": lambda: _each(lambda n: f"github.com/acme/{n} v{_version()} h1:{b64(32)}\ngithub.com/acme/{n} v{_version()}/go.mod h1:{b64(32)}\n"),
    "Gemfile.lock": lambda: "GEM\n  specs:\n" + _each(lambda n: f"    {n} ({_version()})\n      rack (>= 1.0)\n"),
    "composer.lock": lambda: _each(lambda n: f'{{"name": "acme/{n}", "version": "{_version()}", "source": {{"type": "git", "reference": "{r(40, H)}"}}, "dist": {{"shasum": "{r(40, H)}"}}}},\n'),
    "terraform lock": lambda: _each(lambda n: f'provider "registry.terraform.io/acme/{n}" {{\n  version = "{_version()}"\n  hashes = [\n    "h1:{b64(32)}",\n    "zh:{r(64, H)}",\n  ]\n}}\n', 4),
    "flake.lock": lambda: _each(lambda n: f'"{n}": {{"locked": {{"lastModified": 17{r(8, "0123456789")}, "narHash": "sha256-{b64(32)}", "rev": "{r(40, H)}"}}}},\n'),
    "sums": lambda: "".join(f"{r(size, H)}  {n}.bin\n" for n in _NAMES for size in (32, 40, 64, 96, 128)),
    "git log": lambda: "".join(f"commit {r(40, H)}\nAuthor: Bob <bob\x40example.org>\nDate:   Fri Nov 27 10:00:00 2026 +0000\n\n    Rotate the token of {n}\n\n" for n in _NAMES),
    "git raw": lambda: "".join(f":100644 100644 {r(10, H)} {r(10, H)} M\tsrc/{n}/password.py\n" for n in _NAMES),
    "git reflog": lambda: "".join(f"{r(7, H)} HEAD\x40{{{i}}}: commit: reset password of {n}\n" for i, n in enumerate(_NAMES)),
    "git packs": lambda: "".join(f"{r(40, H)} refs/heads/{n}\n" for n in _NAMES),
    "docker images": lambda: "REPOSITORY TAG DIGEST IMAGE ID\n" + "".join(f"acme/{n} 1.0 sha256:{r(64, H)} {r(12, H)}\n" for n in _NAMES),
    "docker manifest": lambda: "".join(f'{{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:{r(64, H)}", "size": {_pick.randrange(10**8)}}},\n' for _ in range(9)),
    "pods": lambda: "".join(f"{n}-{r(10, H)}-{r(5, L)}   1/1   Running   0   3d\n" for n in _NAMES),
    "uids of objects": lambda: "".join(f"  uid: {_uuid()}\n  resourceVersion: \"{_pick.randrange(10**9)}\"\n  name: default-token-{r(5, L)}\n" for _ in range(9)),
    "uuids": lambda: "".join(f"{_uuid()}\n" for _ in range(40)),
    "traces": lambda: "".join(f"2026-11-27T10:00:00Z INFO trace_id={r(32, H)} span_id={r(16, H)} request_id={_uuid()} key=user:{_pick.randrange(10**6)} ok\n" for _ in range(20)),
    "access log": lambda: "".join(f'10.0.0.{_pick.randrange(255)} - - [27/Nov/2026:10:00:00 +0000] "GET /static/app.{r(8, H)}.js?v={r(20, H)} HTTP/1.1" 200 {_pick.randrange(10**5)} "-" "Mozilla/5.0 (X11; Linux x86_64)"\n' for _ in range(20)),
    "etags": lambda: "".join(f'ETag: "{r(32, H)}"\nX-Amz-Request-Id: {r(16, string.ascii_uppercase + string.digits)}\nX-Amz-Id-2: {b64(56)}\nCF-RAY: {r(16, H)}-LHR\n' for _ in range(6)),
    "object ids": lambda: "".join(f'{{"_id": {{"$oid": "{r(24, H)}"}}, "ref": "cus_{r(14)}", "pi": "pi_{r(24)}", "req": "req_{r(14)}"}}\n' for _ in range(12)),
    "ids of models": lambda: "".join(f'{{"id": "chatcmpl-{r(29)}", "system_fingerprint": "fp_{r(10, H)}", "tool": "call_{r(24)}", "msg": "msg_01{r(22)}", "file": "file-{r(24)}"}}\n' for _ in range(8)),
    "aws resources": lambda: "".join(f"arn:aws:ec2:eu-west-1:123456789012:instance/i-{r(17, H)} subnet-{r(17, H)} sg-{r(17, H)} ami-{r(17, H)} snap-{r(17, H)}\n" for _ in range(8)),
    "azure resources": lambda: "".join(f"/subscriptions/{_uuid()}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/v/secrets/db/{r(32, H)}\n" for _ in range(6)),
    "video ids": lambda: "".join(f"https://video.example/watch?v={r(11, A + '-_')}&list=PL{r(32, A + '-_')}\n" for _ in range(8)),
    "css modules": lambda: "".join(f".button_{r(5)}__{r(5)} {{ color: #{r(6, H)} }}\n" for _ in range(20)),
    "minified": lambda: ";".join(f'var {r(2, string.ascii_lowercase)}={{{r(1, "abc")}:"{r(6)}",token:n.{r(3, string.ascii_lowercase)},password:function(t){{return e(t,{_pick.randrange(99)})}}}}' for _ in range(30)),
    "source map": lambda: '{"version":3,"mappings":"' + ";".join(r(_pick.randrange(8, 60), A + "+/") for _ in range(60)) + '"}',
    "image": lambda: f"![x](data:image/png;base64,iVBORw0KGgo{b64(600)})\n",
    "font": lambda: f"src: url(data:font/woff2;base64,d09GMgAB{b64(900)}) format('woff2');\n",
    "certificate": lambda: "-----BEGIN CERTIFICATE-----\nMIID" + "\n".join(r(64, A + "+/") for _ in range(16)) + "\n-----END CERTIFICATE-----\n",
    "public pem": lambda: "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA" + r(20) + "\n" + "\n".join(r(64, A + "+/") for _ in range(5)) + "\n-----END PUBLIC KEY-----\n",
    "pgp public": lambda: "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + "\n".join(r(64, A + "+/") for _ in range(20)) + "\n=AbCd\n-----END PGP PUBLIC KEY BLOCK-----\n",
    "pgp signature": lambda: "-----BEGIN PGP SIGNATURE-----\n\n" + "\n".join(r(64, A + "+/") for _ in range(7)) + "\n=AbCd\n-----END PGP SIGNATURE-----\n",
    "authorized keys": lambda: "".join(f"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ{r(300, A + '+/')} bob\x40{n}\n" for n in _NAMES[:4]),
    "known hosts": lambda: "".join(f"|1|{b64(20)}|{b64(20)} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{r(43, A + '+/')}\n" for _ in range(6)),
    "fingerprints": lambda: "".join(f"SHA256:{r(43, A + '+/')} key {n} (ED25519)\n{':'.join(r(2, H) for _ in range(16))} key\n" for n in _NAMES),
    "dkim": lambda: f"sel._domainkey IN TXT \"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQ{r(170, A + '+/')}IDAQAB\"\n",
    "dkim header": lambda: f"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s1; bh={b64(32)}; b={b64(128)}\nMessage-ID: <{r(30)}\x40mail.example.org>\n",
    "csp": lambda: f"Content-Security-Policy: script-src 'nonce-{b64(16)}' 'sha256-{b64(32)}'\n",
    "sri": lambda: f'<script src="a.js" integrity="sha384-{b64(48)}" crossorigin="anonymous"></script>\n',
    "addresses of chains": lambda: "".join(f"tx 0x{r(64, H)} from 0x{r(40, H)} block {_pick.randrange(10**8)}\n" for _ in range(9)),
    "content ids": lambda: "".join(f"Qm{r(44)} bafybei{r(52, 'abcdefghijklmnopqrstuvwxyz234567')}\n" for _ in range(6)),
    "nix store": lambda: "".join(f"/nix/store/{r(32, '0123456789abcdfghijklmnpqrsvwxyz')}-{n}-{_version()}\n" for n in _NAMES),
    "bazel": lambda: "".join(f'    sha256 = "{r(64, H)}",\n    strip_prefix = "{n}-{_version()}",\n' for n in _NAMES),
    "helm": lambda: "".join(f"digest: sha256:{r(64, H)}\ngenerated: \"2026-11-27T10:00:00.{_pick.randrange(10**9)}Z\"\n" for _ in range(4)),
    "ps": lambda: "".join(f"root {_pick.randrange(10**5)} 0.0 0.1 {_pick.randrange(10**6)} {_pick.randrange(10**5)} ? Ss 10:00 0:00 /usr/sbin/sshd -D -p 22 -o Port={n}\n" for n in range(12)),
    "float table": lambda: "".join(" ".join(f"{_pick.random():.16f}" for _ in range(5)) + "\n" for _ in range(12)),
    "int table": lambda: "".join(",".join(str(_pick.randrange(10**9)) for _ in range(6)) + "\n" for _ in range(12)),
    "phones of versions": lambda: "".join(f"pkg {_version()}-{_pick.randrange(100)} build 20261127.{_pick.randrange(9)} 10.0.{_pick.randrange(99999)}.{_pick.randrange(9999)}\n" for _ in range(12)),
    "hexdump": lambda: "".join(f"{n * 16:08x}  {' '.join(r(2, H) for _ in range(8))}  {' '.join(r(2, H) for _ in range(8))}  |................|\n" for n in range(20)),
    "symbols": lambda: "".join(f"{r(16, H)} T _ZN{_pick.randrange(9)}{n.replace('-', '')}17h{r(16, H)}E\n" for n in _NAMES),
    "translations": lambda: '{"login.password": "Password", "login.token": "Access token", "login.secret": "Shared secret", "forgot": "Forgot your password?", "key.help": "Press any key"}\n',
    "form of a schema": lambda: '{"properties": {"password": {"type": "string", "minLength": 8, "writeOnly": true}, "api_key": {"type": "string", "pattern": "^[A-Za-z0-9]{32}$"}}, "required": ["password"]}\n',
}  # fmt: skip
SAID: Final = (
    ("AWS's examples", "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"),
    ("products' keys", "Windows 10 Pro: enter XXXXX-XXXXX-XXXXX-XXXXX-XXXXX\nlicense key: <your license key>\n"),
    ("help of programs", "  -p, --password PASSWORD   the password (default: prompt)\n  --token TOKEN             a token, see `login`\n  -u USER[:PASSWORD]\n"),
    ("errors", "Error: password authentication failed for user \"app\"\nAccess denied for user 'app'@'localhost' (using password: YES)\nInvalid API key provided.\nfatal: could not read Password for 'https://git.example.org': terminal prompts disabled\n401 Unauthorized: token expired\n"),
    ("settings", "PasswordAuthentication no\nPermitRootLogin prohibit-password\nAuthorizedKeysFile .ssh/authorized_keys\npassword required pam_unix.so nullok sha512\nauth_basic_user_file /etc/nginx/.htpasswd;\nssl_certificate_key /etc/ssl/private/x.key;\n"),
    ("variables", "password: ${DB_PASSWORD}\ntoken: {{ secrets.TOKEN }}\nsecret: $(cat /run/secrets/db)\napi_key: !Ref ApiKey\nkey: <%= ENV['KEY'] %>\npassword: %PASSWORD%\n"),
)  # fmt: skip


def samples() -> Iterator[Sample]:
    for name, make in MADE.items():
        for number in range(3):
            yield Sample("dull output", f"{name} {number}", None, make().encode())
    for name, text in SAID:
        yield Sample("dull output", name, None, text.encode())
