"""Secrets as programs print and keep them: clusters, tunnels, wallets, vaults, clouds, hashes."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Final

from corpus.sample import Sample

A: Final = string.ascii_letters + string.digits
H: Final = "0123456789abcdef"
B58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_pick = random.Random(31337)
_WORDS: Final = [
    "abandon",
    "ability",
    "able",
    "about",
    "above",
    "absent",
    "absorb",
    "abstract",
    "absurd",
    "abuse",
    "access",
    "accident",
    "account",
    "accuse",
    "achieve",
    "acid",
    "acoustic",
    "acquire",
    "banana",
    "bargain",
    "basic",
    "battle",
    "beauty",
    "because",
    "become",
    "before",
    "candy",
    "canyon",
    "captain",
    "carbon",
    "cargo",
    "carpet",
    "donkey",
    "draft",
    "dragon",
    "drama",
    "eagle",
    "early",
    "fabric",
    "faculty",
    "galaxy",
    "garlic",
    "hamster",
    "harbor",
    "iceberg",
    "jacket",
    "kangaroo",
    "ladder",
    "magnet",
    "napkin",
    "oblige",
    "paddle",
    "quantum",
    "rabbit",
    "saddle",
    "tackle",
    "umbrella",
    "vacuum",
    "wagon",
    "yellow",
    "zebra",
    "zone",
]


def r(count: int, letters: str = A) -> str:
    return "".join(_pick.choice(letters) for _ in range(count))


def b64(count: int) -> str:
    return base64.b64encode(_pick.randbytes(count)).decode()


def word() -> str:
    return f"{_pick.choice(('Lantern', 'Copper', 'Velvet'))}{_pick.randrange(10, 99)}{_pick.choice(('river', 'orbit', 'maple'))}!"


def said(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def base58(payload: bytes) -> str:
    """Base58Check."""
    data = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = B58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def _hex_lines(count: int) -> list[str]:
    pairs = [r(2, H) for _ in range(count)]
    return [":".join(pairs[n : n + 15]) for n in range(0, count, 15)]


def _openssl() -> tuple[str, str]:
    lines = _hex_lines(256)
    body = "".join(f"    {line}:\n" for line in lines)
    modulus = "".join(f"    {line}:\n" for line in _hex_lines(257))
    return (
        f"Private-Key: (2048 bit, 2 primes)\nmodulus:\n{modulus}publicExponent: 65537 (0x10001)\nprivateExponent:\n{body}prime1:\n{body}",
        lines[3],
    )


def _openssl_ec() -> tuple[str, str]:
    lines = _hex_lines(32)
    body = "".join(f"    {line}:\n" for line in lines).rstrip(":\n") + "\n"
    return (
        f"Private-Key: (256 bit)\npriv:\n{body}pub:\n    04:ab:cd\nASN1 OID: prime256v1\n",
        lines[1],
    )


def _openvpn() -> tuple[str, str]:
    lines = [r(32, H) for _ in range(16)]
    return (
        "#\n# 2048 bit OpenVPN static key\n#\n-----BEGIN "
        + "OpenVPN Static key V1-----\n"
        + "\n".join(lines)
        + "\n-----END "
        + "OpenVPN Static key V1-----\n",
        lines[5],
    )


def _openvpn_inline() -> tuple[str, str]:
    text, needle = _openvpn()
    return f"client\n<tls-auth>\n{text}</tls-auth>\n", needle


def _shares(kind: str) -> tuple[str, str]:
    """GUIDs and tables of a vault."""
    key = b64(33)
    rest = "".join(f"{kind} {n}: {b64(33)}\n" for n in range(2, 6))
    return f"{kind} 1: {key}\n{rest}\nInitial Root Token: hvs.{r(24)}\n", key


def _ansible() -> tuple[str, str]:
    lines = [r(80, H) for _ in range(5)]
    return "password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n" + "".join(
        f"  {line}\n" for line in lines
    ), lines[2]


def _one(form: str, make: Callable[[], str]) -> Callable[[], tuple[str, str]]:
    def made() -> tuple[str, str]:
        value = make()
        return form.replace("¤", value), value

    return made


def _encoded(form: str) -> Callable[[], tuple[str, str]]:
    return _one(form, lambda: said(word()))


def _mnemonic(count: int) -> Callable[[], str]:
    return lambda: " ".join(_pick.sample(_WORDS, count))


def _access() -> str:
    return r(40, A + "+/")


def _xprv(version: str) -> Callable[[], str]:
    return lambda: base58(
        bytes.fromhex(version) + _pick.randbytes(41) + b"\0" + _pick.randbytes(32)
    )


def _nt() -> str:
    return r(32, H)


def _docker() -> tuple[str, str]:
    auth = said(f"bob:{word()}")
    config = said(json.dumps({"auths": {"r.example.org": {"auth": auth}}}))
    return (
        f"apiVersion: v1\nkind: Secret\ntype: kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: {config}\n",
        config,
    )


FORMS: Final[dict[str, Callable[[], tuple[str, str]]]] = {
    "k8s data": _encoded("apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ndata:\n  password: ¤\n"),
    "k8s data, any name": _encoded("apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ntype: Opaque\ndata:\n  hello: ¤\n"),
    "k8s data, data first": _encoded("apiVersion: v1\ndata:\n  hello: ¤\nkind: Secret\nmetadata:\n  name: db\n"),
    "k8s data, second": _encoded("apiVersion: v1\nkind: Secret\ndata:\n  a: dGVzdA==\n  value2: ¤\n  c: dGVzdA==\n"),
    "k8s JSON": _encoded('{"apiVersion": "v1", "data": {"hello": "¤"}, "kind": "Secret", "metadata": {"name": "db"}}'),
    "k8s JSON, kind first": _encoded('{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "db"}, "data": {"a": "dGVzdA==", "hello": "¤"}}'),
    "k8s stringData": _one("apiVersion: v1\nkind: Secret\nstringData:\n  hello: ¤\n", word),
    "k8s stringData, quoted": _one('kind: Secret\nstringData:\n  a: b\n  hello: "¤"\n', word),
    "dockerconfigjson": _docker,
    "k8s configmap": _one("kind: ConfigMap\ndata:\n  app.properties: |\n    db.password=¤\n    x=y\n", word),
    "kubectl get -o jsonpath": _one("DB_PASSWORD=¤\n", word),
    "kubeadm join": _one("kubeadm join 10.0.0.1:6443 --token ¤ --discovery-token-ca-cert-hash sha256:" + "ab" * 32 + "\n", lambda: f"{r(6, H)}.{r(16, H)}"),
    "kubeconfig token": _one("users:\n- name: a\n  user:\n    token: ¤\n", lambda: r(60)),
    "kubeconfig key": _one("    client-key-data: ¤\n", lambda: b64(900)),
    "kubeconfig password": _one("users:\n- name: a\n  user:\n    username: admin\n    password: ¤\n", word),
    "openvpn static": _openvpn,
    "openvpn inline": _openvpn_inline,
    "wg show": _one("interface: wg0\n  public key: " + "A" * 43 + "=\n  private key: ¤\n  listening port: 51820\n", lambda: b64(32)),
    "wg show dump": _one("wg0\t¤\t" + "B" * 43 + "=\t51820\toff\n", lambda: b64(32)),
    "wg conf": _one("[Interface]\nAddress = 10.0.0.1/24\nPrivateKey = ¤\n", lambda: b64(32)),
    "wg psk": _one("[Peer]\nPublicKey = " + "A" * 43 + "=\nPresharedKey = ¤\n", lambda: b64(32)),
    "wg show psk": _one("peer: " + "A" * 43 + "=\n  preshared key: ¤\n", lambda: b64(32)),
    "openssl rsa -text": _openssl,
    "openssl ec -text": _openssl_ec,
    "xprv": _one("¤\n", _xprv("0488ADE4")),
    "yprv in words": _one("The key is ¤, keep it.\n", _xprv("049D7878")),
    "zprv": _one('{"k": "¤"}', _xprv("04B2430C")),
    "tprv": _one("¤\n", _xprv("04358394")),
    "wif": _one("¤\n", lambda: base58(b"\x80" + _pick.randbytes(32) + b"\x01")),
    "wif, old": _one("key ¤ end\n", lambda: base58(b"\x80" + _pick.randbytes(32))),
    "wif of testnet": _one("cVk: ¤\n", lambda: base58(b"\xef" + _pick.randbytes(32) + b"\x01")),
    "bip38": _one("¤\n", lambda: base58(b"\x01\x42\xc0" + _pick.randbytes(36))),
    "mnemonic alone": _one("¤\n", _mnemonic(12)),
    "mnemonic, 24": _one("¤\n", _mnemonic(24)),
    "mnemonic of a name": _one("MNEMONIC=\"¤\"\n", _mnemonic(12)),
    "mnemonic JSON": _one('{"mnemonic": "¤"}', _mnemonic(12)),
    "mnemonic numbered": lambda: ((w := _pick.sample(_WORDS, 12)) and "".join(f"{n}. {x}\n" for n, x in enumerate(w, 1)), "\n7. " + w[6]),
    "mnemonic of a command": _one("**Important** write this mnemonic phrase in a safe place.\n\n¤\n", _mnemonic(24)),
    "ethereum key": _one("private key: 0x¤\n", lambda: r(64, H)),
    "hardhat": _one('accounts: ["0x¤"]\n', lambda: r(64, H)),
    "solana": _one("[¤]\n", lambda: ",".join(str(_pick.randrange(256)) for _ in range(64))),
    "age": _one("# created: 2026-11-27\n# public key: age1x\n¤\n", lambda: "AGE-SECRET-KEY-1" + r(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L")),
    "minisign": _one("untrusted comment: minisign encrypted secret key\n¤\n", lambda: "RWRTY0Iy" + b64(150)),
    "signify": _one("untrusted comment: signify secret key\n¤\n", lambda: "RWRCSwAA" + b64(96)),
    "cosign": _one("-----BEGIN " + "ENCRYPTED SIGSTORE PRIVATE KEY-----\n¤\n-----END " + "ENCRYPTED SIGSTORE PRIVATE KEY-----\n", lambda: b64(300)),
    "pgp": _one("-----BEGIN " + "PGP PRIVATE KEY BLOCK-----\n\n¤\n=abcd\n-----END " + "PGP PRIVATE KEY BLOCK-----\n", lambda: b64(600)),
    "pgp message key": _one("gpg: session key: '9:¤'\n", lambda: r(64, "0123456789ABCDEF")),
    "vault unseal": lambda: _shares("Unseal Key"),
    "vault recovery": lambda: _shares("Recovery Key"),
    "vault init JSON": _one('{"unseal_keys_b64": ["¤"], "unseal_keys_hex": ["ab"], "root_token": "x"}', lambda: b64(33)),
    "vault init JSON, second": _one('{"keys": ["ab"], "keys_base64": ["' + "QUJD" * 11 + '", "¤"]}', lambda: b64(33)),
    "vault init, hex": _one('{"unseal_keys_hex": ["¤"]}', lambda: r(66, H)),
    "vault token": _one("Key                  Value\n---                  -----\ntoken                ¤\ntoken_accessor       abc\n", lambda: "hvs." + r(24)),
    "vault old token": _one("token    s.¤\n", lambda: r(24)),
    "vault kv": _one("====== Data ======\nKey         Value\n---         -----\npassword    ¤\n", word),
    "vault approle": _one("secret_id             ¤\n", lambda: "-".join(r(n, H) for n in (8, 4, 4, 4, 12))),
    "consul": _one("SecretID:         ¤\nDescription:      x\n", lambda: "-".join(r(n, H) for n in (8, 4, 4, 4, 12))),
    "consul gossip": _one('{"encrypt": "¤"}', lambda: b64(32)),
    "nomad": _one("Secret ID    = ¤\n", lambda: "-".join(r(n, H) for n in (8, 4, 4, 4, 12))),
    "terraform output": _one('db_password = "¤"\n', word),
    "terraform state": _one('"attributes": {"id": "none", "result": "¤", "length": 16}, "type": "random_password"', word),
    "aws text": _one("ACCESSKEY\tAKIA" + r(16, "ABCDEFGHIJKLMNOP234567") + "\t2026-11-27T00:00:00Z\t¤\tActive\tbob\n", _access),
    "aws sts text": _one("CREDENTIALS\tASIA" + r(16, "ABCDEFGHIJKLMNOP234567") + "\t2026-11-27T00:00:00Z\t¤\t" + b64(200) + "\n", _access),
    "aws sts text, session": _one("CREDENTIALS\tASIA" + r(16, "ABCDEFGHIJKLMNOP234567") + "\t2026-11-27T00:00:00Z\t" + r(40) + "\t¤\n", lambda: "IQoJb3JpZ2luX2Vj" + b64(300)),
    "aws table": _one("||  SecretAccessKey |  ¤  ||\n", _access),
    "aws iam table": _one("|  AccessKeyId    |  AKIA" + r(16, "ABCDEFGHIJKLMNOP234567") + "            |\n|  SecretAccessKey|  ¤ |\n", _access),
    "aws yaml": _one("AccessKey:\n  SecretAccessKey: ¤\n  Status: Active\n", _access),
    "aws csv": _one("Access key ID,Secret access key\nAKIA" + r(16, "ABCDEFGHIJKLMNOP234567") + ",¤\n", _access),
    "aws session alone": _one("¤\n", lambda: "IQoJb3JpZ2luX2VjE" + b64(300).rstrip("=")),
    "aws ecr password": _one("eyJ¤\n", lambda: said(json.dumps({"payload": b64(300), "datakey": b64(90), "version": "2", "type": "DATA_KEY"}))[3:]),
    "gcloud token": _one("¤\n", lambda: "ya29." + r(120, A + "_-")),
    "gcloud identity": _one("¤\n", lambda: f"{_jwt()}.{r(43, A + '-_')}"),
    "az token": _one('{\n  "accessToken": "¤",\n  "expiresOn": "2026"\n}\n', lambda: f"{_jwt()}.{r(43, A + '-_')}"),
    "az sp": _one('{"appId": "x", "displayName": "y", "password": "¤", "tenant": "z"}', lambda: r(3) + "8Q~" + r(34, A + "_-")),
    "az sp tsv": _one("{}\ty\t¤\tz\n", lambda: r(3) + "8Q~" + r(34, A + "_-")),
    "gh auth": _one("  - Token: ¤\n", lambda: "gho_" + r(36)),
    "gh hosts": _one("github.com:\n    oauth_token: ¤\n    user: bob\n", lambda: r(40, H)),
    "git credential": _one("protocol=https\nhost=git.example.org\nusername=bob\npassword=¤\n", word),
    "git-credentials": _one("https://bob:¤\x40git.example.org\n", lambda: r(20)),
    "netrc": _one("machine api.example.org\n  login bob\n  password ¤\n", word),
    "netrc, order": _one("machine api.example.org password ¤ login bob\n", word),
    "pgpass": _one("db.example.org:5432:app:app:¤\n", word),
    "my.cnf": _one("[client]\nuser=app\npassword=¤\n", word),
    "npmrc": _one("//registry.example.org/:_authToken=¤\n", lambda: "npm_" + r(36)),
    "npmrc uuid": _one("//registry.example.org/:_authToken=¤\n", lambda: "-".join(r(n, H) for n in (8, 4, 4, 4, 12))),
    "yarnrc": _one("npmAuthToken: '¤'\n", lambda: r(40)),
    "pip index": _one("Looking in indexes: https://bob:¤\x40packages.example.org/simple\n", lambda: r(20)),
    "pip.conf token": _one("index-url = https://__token__:¤\x40packages.example.org/simple\n", lambda: "pypi-AgE" + r(120)),
    "pypirc": _one("[pypi]\nusername = __token__\npassword = ¤\n", lambda: "pypi-AgE" + r(120)),
    "gem credentials": _one("---\n:rubygems_api_key: ¤\n", lambda: "rubygems_" + r(48, H)),
    "cargo": _one('[registry]\ntoken = "¤"\n', lambda: "cio" + r(32)),
    "composer": _one('{"http-basic": {"repo.example.org": {"username": "bob", "password": "¤"}}}', word),
    "maven": _one("<server><id>x</id><username>bob</username><password>¤</password></server>", word),
    "nuget": _one('<add key="ClearTextPassword" value="¤" />', word),
    "gradle": _one("signing.password=¤\n", word),
    "docker config": _one('{"auths": {"r.example.org": {"auth": "¤"}}}', lambda: said(f"bob:{word()}")),
    "docker identitytoken": _one('{"auths": {"r": {"identitytoken": "¤"}}}', lambda: r(60)),
    "jenkins": _one("<com.cloudbees.plugins.credentials.impl.UsernamePasswordCredentialsImpl>\n  <username>bob</username>\n  <password>{¤}</password>\n", lambda: "AQAAABAAAA" + b64(60)),
    "jenkins secret": _one("<secret>{¤}</secret>\n", lambda: "AQAAABAAAA" + b64(60)),
    "jenkins apiToken": _one("<apiToken>¤</apiToken>\n", lambda: r(34, H)),
    "jenkins password file": _one("Please use the following password to proceed to installation:\n\n¤\n\n", lambda: r(32, H)),
    "ansible vault": _ansible,
    "rails master key": _one("config/master.key\n¤\n", lambda: r(32, H)),
    "rails secret_key_base": _one("production:\n  secret_key_base: ¤\n", lambda: r(128, H)),
    "rails credentials": _one("RAILS_MASTER_KEY=¤\n", lambda: r(32, H)),
    "django": _one("SECRET_KEY = 'django-insecure-¤'\n", lambda: r(50, string.ascii_lowercase + string.digits + "!#$%^&*(-_=+)")),
    "django plain": _one("SECRET_KEY = '¤'\n", lambda: r(50, string.ascii_lowercase + string.digits + "!#$%^&*(-_=+)")),
    "flask": _one("app.secret_key = b'¤'\n", lambda: r(24)),
    "laravel": _one("APP_KEY=base64:¤\n", lambda: b64(32)),
    "symfony": _one("APP_SECRET=¤\n", lambda: r(32, H)),
    "wordpress": _one("define('AUTH_KEY',         '¤');\n", lambda: r(64, A + "!#$%^&*()-_[]{}<>~`+=,.;:/?|")),
    "wordpress salt": _one("define( 'NONCE_SALT', '¤' );\n", lambda: r(64, A + "!#$%^&*()-_[]{}<>~`+=,.;:/?|")),
    "wordpress db": _one("define( 'DB_PASSWORD', '¤' );\n", word),
    "phoenix": _one('secret_key_base: "¤"\n', lambda: b64(48)),
    "play": _one('play.http.secret.key="¤"\n', lambda: r(64)),
    "machineKey": _one('<machineKey validationKey="¤" decryptionKey="AB" validation="SHA1" />', lambda: r(128, "0123456789ABCDEF")),
    "scram": _one(" app | SCRAM-SHA-256$4096:¤\n", lambda: f"{b64(16)}${b64(32)}:{b64(32)}"),
    "scram of pg_dump": _one("ALTER ROLE app WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:¤';\n", lambda: f"{b64(16)}${b64(32)}:{b64(32)}"),
    "postgres md5": _one("ALTER ROLE app WITH LOGIN PASSWORD 'md5¤';\n", lambda: r(32, H)),
    "postgres md5, psql": _one(" app     | md5¤\n", lambda: r(32, H)),
    "mysql native": _one("| root | localhost | *¤ |\n", lambda: r(40, "0123456789ABCDEF")),
    "mysql caching": _one("| app | $A$005$¤ |\n", lambda: r(63, A + "./")),
    "mongodb": _one('"SCRAM-SHA-256": {"iterationCount": 15000, "salt": "' + b64(28) + '", "storedKey": "¤", "serverKey": "x"}', lambda: b64(32)),
    "shadow": _one("root:$6$salt1234$¤:19000:0:99999:7:::\n", lambda: r(86, A + "./")),
    "yescrypt": _one("bob:$y$j9T$¤:19000:0:99999:7:::\n", lambda: f"{r(22, A + './')}${r(43, A + './')}"),
    "htpasswd": _one("bob:$apr1$¤\n", lambda: f"{r(8, A + './')}${r(22, A + './')}"),
    "htpasswd sha": _one("bob:{SHA}¤\n", lambda: b64(20)),
    "bcrypt": _one('{"hash": "$2b$12$¤"}', lambda: r(53, A + "./")),
    "argon2": _one("$argon2id$v=19$m=65536,t=3,p=4$¤\n", lambda: f"{b64(16).rstrip('=')}${b64(32).rstrip('=')}"),
    "scrypt": _one("$scrypt$ln=16,r=8,p=1$¤\n", lambda: f"{b64(16).rstrip('=')}${b64(32).rstrip('=')}"),
    "django pbkdf2": _one("pbkdf2_sha256$600000$¤\n", lambda: f"{r(22)}${b64(32)}"),
    "werkzeug": _one("scrypt:32768:8:1$¤\n", lambda: f"{r(16)}${r(128, H)}"),
    "werkzeug pbkdf2": _one("pbkdf2:sha256:600000$¤\n", lambda: f"{r(16)}${r(64, H)}"),
    "phpass": _one("admin:$P$B¤\n", lambda: r(30, A + "./")),
    "drupal": _one("$S$E¤\n", lambda: r(51, A + "./")),
    "ntlm, pwdump": _one("Administrator:500:aad3b435b51404eeaad3b435b51404ee:¤:::\n", _nt),
    "ntlm, domain": _one("corp.example\\krbtgt:502:aad3b435b51404eeaad3b435b51404ee:¤:::\n", _nt),
    "ntlm, mimikatz": _one("         * NTLM     : ¤\n", _nt),
    "mimikatz password": _one("         * Username : bob\n         * Domain   : CORP\n         * Password : ¤\n", word),
    "netntlmv2": _one("bob::CORP:1122334455667788:¤\n", lambda: f"{r(32, H)}:{r(120, H)}"),
    "kerberoast": _one("$krb5tgs$23$*bob$CORP$x*$¤\n", lambda: f"{r(32, H)}${r(200, H)}"),
    "asrep": _one("$krb5asrep$23$bob\x40CORP:¤\n", lambda: f"{r(32, H)}${r(200, H)}"),
    "dcc2": _one("$DCC2$10240#bob#¤\n", _nt),
    "ntlm after a plus": _one("[+] corp\\bob:¤ (Pwn3d!)\n", word),
    "laps": _one("ms-Mcs-AdmPwd: ¤\n", word),
    "gpp": _one('<Properties cpassword="¤" userName="x" />', lambda: b64(32)),
    "wifi windows": _one("    Key Content            : ¤\n", word),
    "security find-generic-password": _one('password: "¤"\n', word),
    "1password item": _one("  password:    ¤\n  notes:       x\n", word),
    "bitwarden": _one('{"login": {"username": "bob", "password": "¤", "totp": null}}', word),
    "bitwarden session": _one('$ export BW_SESSION="¤"\n', lambda: b64(64)),
    "pass": _one("$ pass show db/prod\n¤\nuser: bob\n", word),
    "pwgen": _one("Generated password: ¤\n", word),
    "mkpasswd reset": _one("New password: ¤\n", word),
    "elastic reset": _one("Password for the [elastic] user successfully reset.\nNew value: ¤\n", lambda: r(20, A + "+=*")),
    "elastic enrollment": _one("  ELASTIC_PASSWORD = ¤\n", word),
    "gitlab root": _one("Password: ¤\n", lambda: b64(32)),
    "argocd": _one("$ argocd admin initial-password -n argocd\n¤\n\n This password must be only used for first time login.\n", lambda: r(16)),
    "k3s": _one("K10¤\n", lambda: f"{r(64, H)}::server:{r(32, H)}"),
    "docker swarm": _one("    docker swarm join --token ¤ 10.0.0.1:2377\n", lambda: f"SWMTKN-1-{r(50, string.ascii_lowercase + string.digits)}-{r(25, string.ascii_lowercase + string.digits)}"),
    "tailscale": _one("tailscale up --authkey=¤\n", lambda: "tskey-auth-" + r(16) + "-" + r(32)),
    "cloudflared": _one("cloudflared service install ¤\n", lambda: said(json.dumps({"a": r(32, H), "t": "x-y", "s": b64(32)}))),
    "ngrok": _one("authtoken: ¤\n", lambda: r(27) + "_" + r(21)),
    "jupyter": _one("    http://localhost:8888/lab?token=¤\n", lambda: r(48, H)),
    "grafana": _one('{"id":1,"name":"x","key":"¤"}', lambda: said(json.dumps({"k": r(32), "n": "x", "id": 1}))),
    "totp": _one("Your new secret key is: ¤\n", lambda: r(26, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
    "recovery codes": _one("Your emergency scratch codes are:\n  ¤\n  12345678\n", lambda: r(8, string.digits)),
    "firebase": _one('"current_key": "¤"', lambda: "AIza" + r(35, A + "_-")),
    "luks": _one("MK dump:\t¤\n", lambda: " ".join(r(2, H) for _ in range(16))),
    "bitlocker": _one("Recovery Key: ¤\n", lambda: "-".join(f"{_pick.randrange(65536) * 11:06}" for _ in range(8))),
    "filevault": _one("Recovery key = '¤'\n", lambda: "-".join(r(4, string.ascii_uppercase + string.digits) for _ in range(6))),
    "tls keylog": _one("CLIENT_RANDOM " + r(64, H) + " ¤\n", lambda: r(96, H)),
    "tls 1.3 keylog": _one("SERVER_TRAFFIC_SECRET_0 " + r(64, H) + " ¤\n", lambda: r(64, H)),
    "openssl s_client": _one("    Master-Key: ¤\n", lambda: r(96, "0123456789ABCDEF")),
    "rndc": _one('key "rndc-key" {\n\talgorithm hmac-sha256;\n\tsecret "¤";\n};\n', lambda: b64(32)),
    "tsig": _one("key.example.org. 600 IN KEY 512 3 157 ¤\n", lambda: b64(32)),
    "dnssec": _one("Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: ¤\n", lambda: b64(32)),
    "tor": _one("== ed25519v1-secret: type0 ==\nHidServAuth x.onion ¤\n", lambda: r(22)),
    "ceph": _one("[client.admin]\n\tkey = ¤\n", lambda: "AQ" + b64(27)[:-2].ljust(36, "A")[:36] + "=="),
    "erlang cookie": _one("erl -sname a -setcookie ¤\n", lambda: r(20, string.ascii_uppercase)),
    "munge": _one("corosync authkey\nxinetd secret = ¤\n", word),
    "putty": _one("PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nComment: x\nPublic-Lines: 1\nAAAAB3\nPrivate-Lines: 1\n¤\nPrivate-MAC: ab\n", lambda: b64(45)),
    "ssh.com": _one("---- BEGIN " + "SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\n¤\n---- END " + "SSH2 ENCRYPTED PRIVATE KEY ----\n", lambda: b64(300)),
    "xml rsa": _one("<RSAKeyValue><Modulus>x</Modulus><D>¤</D></RSAKeyValue>", lambda: b64(128)),
}  # fmt: skip


def _jwt() -> str:
    return f"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.{said(json.dumps({'sub': r(8), 'iat': 1})).rstrip('=')}"


BENIGN: Final = (
    ("ConfigMap", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  LOG_LEVEL: info\n  hello: d29ybGQgb2YgdGV4dA==\n"),
    ("reference to a Secret", "kind: Deployment\nspec:\n  volumes:\n  - name: creds\n    secret:\n      secretName: db-credentials\ndata: none\n"),
    ("Secret described", "Name:         db\nNamespace:    default\nType:  Opaque\n\nData\n====\npassword:  12 bytes\nusername:  3 bytes\n"),
    ("SealedSecret and list", "NAME   TYPE     DATA   AGE\ndb     Opaque   2      3d\nkind: SecretList\n"),
    ("wg show", "interface: wg0\n  public key: " + "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=" + "\n  private key: (hidden)\n  listening port: 51820\npeer: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n  preshared key: (hidden)\n  latest handshake: 1 minute, 2 seconds ago\n"),
    ("openssl x509 -text", "Certificate:\n        Subject Public Key Info:\n            Public Key Algorithm: rsaEncryption\n                Public-Key: (2048 bit)\n                Modulus:\n                    00:c1:5f:1e:ab:54:a9:8c:1f:2e:3d:4c:5b:6a:79:\n                    88:97:a6:b5:c4:d3:e2:f1:00:11:22:33:44:55:66\n                Exponent: 65537 (0x10001)\n        Signature Value:\n            5b:6a:79:88:97:a6:b5:c4:d3:e2:f1:00:11:22:33:44:55:66\n"),
    ("extended public key", "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8\n"),
    ("addresses of Bitcoin", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa\n3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy\nbc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq\n"),
    ("words of a list", "the of and to in that it is was for on are as with they at be this\nable about above absent and accept account across act action\n"),
    ("aws list-users", "USERS\tarn:aws:iam::123456789012:user/bob\t2026-11-27T00:00:00Z\t/\tAIDACKCEVSQ6C2EXAMPLE\tbob\n"),
    ("vault status", "Key             Value\n---             -----\nSeal Type       shamir\nInitialized     true\nSealed          false\nTotal Shares    5\nThreshold       3\nVersion         1.15.2\nStorage Type    raft\nCluster ID      7a1c9f2e-3b4d-4c5e-8f60-718293a4b5c6\n"),
    ("terraform plan", '  + password = (sensitive value)\n  + arn      = (known after apply)\n  + id       = "i-0abcd1234ef567890"\n'),
    ("locked accounts", "daemon:*:19000:0:99999:7:::\nbob:!:19000:0:99999:7:::\nann:!!:19000::::::\n"),
    ("sums", "d41d8cd98f00b204e9800998ecf8427e  empty\n*d41d8cd98f00b204e9800998ecf8427e\nmd5:d41d8cd98f00b204e9800998ecf8427e\nMD5 (a) = d41d8cd98f00b204e9800998ecf8427e\n"),
    ("OpenSSH public", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl bob@host\n256 SHA256:AbCdEf0123456789AbCdEf0123456789AbCdEf01234 bob@host (ED25519)\n"),
    ("a public key of minisign", "untrusted comment: minisign public key E7620F1842B4E81F\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n"),
    ("wordpress without keys", "define('AUTH_KEY',         'put your unique phrase here');\ndefine( 'WP_DEBUG', false );\ndefine( 'DB_CHARSET', 'utf8mb4' );\n"),
    ("help of kubeadm", "kubeadm join [api-server-endpoint] --token <token> --discovery-token-ca-cert-hash sha256:<hash>\nkubeadm token list\n"),
    ("lists of bytes", "[1, 2, 3, 4, 5, 6, 7, 8]\n[255,216,255,224,0,16,74,70,73,70,0,1]\n"),
    ("DNS keys", "example.org. 3600 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==\n"),
    ("serial numbers", "Serial: ABCD-EFGH-1234\nProduct Key: see the box\nPhone: 123456-123456\nOrder 123456-654321-000001\n"),
)  # fmt: skip


def samples() -> Iterator[Sample]:
    for name, make in FORMS.items():
        for number in range(2):
            text, needle = make()
            yield Sample("secrets in print", f"{name} {number}", "secret", text.encode(), needle)
    for name, text in BENIGN:
        yield Sample("print without secrets", name, None, text.encode())
