"""Secrets as programs print them: keys in their own formats, vaults, tunnels, wallets, hashes of
passwords, and what a command whose purpose it is answers with.

Each rule is one program's output. What has a checksum counts by it alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from fumehood.scan.commands import likely
from fumehood.scan.detector import Confidence
from fumehood.scan.judging import entropy
from fumehood.scan.patterns import Found, Rule
from fumehood.scan.tokens import is_placeholder, kinds

PHRASES: Final = (12, 15, 18, 21, 24)
"""Words of a mnemonic (BIP 39), none of which are `the` or `and`."""
_NO_PHRASE: Final = re.compile(
    rb"\b(?:the|and|for|are|but|was|has|had|with|from|were|his|her|its|our|per|via|int|char|var|def|let|elif|const|null"
    rb"|void|true|false|else|while|return|import|class|static|public|string|float|double|bool|http|html|xml|git|npm|bin|usr|src|lib)\b"
)


def _phrase(found: Found) -> Confidence | None:
    """Words in no order that nobody would write as a sentence."""
    words = re.findall(rb"[a-z]{3,8}", found["s"])
    if (
        len(words) not in PHRASES
        or len(set(words)) < len(words) - 1
        or _NO_PHRASE.search(found["s"])
    ):
        return None
    falling = sum(1 for one, two in pairwise(words) if one > two)
    return "medium" if 3 <= falling <= len(words) - 4 else None


def _bytes(found: Found) -> Confidence | None:
    numbers = [int(number) for number in re.findall(rb"[0-9]+", found["s"])]
    return "medium" if max(numbers) <= 255 and len(set(numbers)) >= 40 else None


def _made(found: Found) -> Confidence | None:
    value = found["s"]
    if is_placeholder(value) or kinds(value) < 2 or entropy(value) < 2.8:
        return None
    return "high"


def _random(found: Found) -> Confidence | None:
    if found["s"].endswith(b"EXAMPLEKEY"):
        return "low"
    return "high" if kinds(found["s"]) >= 3 and entropy(found["s"]) >= 4.0 else None


def _groups(found: Found) -> Confidence | None:
    """BitLocker: each group of six digits is a multiple of eleven."""
    return "high" if all(int(group) % 11 == 0 for group in found["s"].split(b"-")) else None


_H: Final = "[0-9a-fA-F]"
_B64: Final = "[A-Za-z0-9+/]"
_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ASKED: Final = "|".join((
    r"pass[ ](?:show[ ])?[\w.-]{1,64}/[\w./-]{1,128}", r"gopass[ ]show", r"op[ ]read", r"lpass[ ]show", r"bw[ ]get", r"secret-tool[ ]lookup", r"security[ ]find-(?:generic|internet)-password", r"(?:vault|bao)[ ](?:kv[ ]get|read)\b[^\n]{0,80}-field",
    r"aws[ ](?:secretsmanager|ssm|ecr[ ]get-login-password|configure[ ]get)", r"gcloud[ ](?:secrets|auth[ ](?:print|application-default))", r"az[ ](?:keyvault|account[ ]get-access-token|acr|storage[ ]account[ ]keys)",
    r"kubectl[ ](?:[^\n]{0,80}[ ])?(?:get[ ]secrets?|create[ ]token)", r"terraform[ ]output[ ]-raw", r"pwgen", r"openssl[ ]rand", r"wg[ ](?:genkey|genpsk)", r"gh[ ]auth[ ]token", r"glab[ ]auth", r"heroku[ ]auth:token", r"doctl[ ]auth", r"oc[ ]whoami[ ]-t",
    r"chamber[ ]read", r"argocd[ ]admin[ ]initial-password", r"fly(?:ctl)?[ ](?:auth[ ]token|tokens[ ]create)", r"npm[ ]token[ ]create", r"docker[ ]swarm[ ]join-token", r"kubeadm[ ]token[ ]create", r"k3s[ ]token", r"doppler[ ]secrets[ ]get", r"infisical[ ]secrets", r"rails[ ]secret", r"bin/rails[ ]secret", r"php[ ]artisan[ ]key:generate",
    r"(?:cat|head|less|type|Get-Content)[ ][^\n]{0,120}(?:passw|secret|token|\.key|master\.key|\.pass|initialAdmin)",
))  # fmt: skip
"""Commands whose answer is a secret and nothing else."""

_CODE: Final = r"[0-9]{0,2}[.)]?[ \t]{0,8}[0-9a-z]{4,10}(?:-[0-9a-z]{4,10})?"

RULES: Final[Sequence[Rule]] = (
    # Keys: OpenVPN's, RFC 4716's, WireGuard's, what `openssl -text` prints, minisign, .NET's XML.
    Rule("private-key", "high", r"-----BEGIN OpenVPN Static key V[0-9]-----\s{1,8}(?P<s>(?:[0-9a-fA-F]{16,64}\s{1,8})+)"),
    Rule("private-key", "high", r"---- BEGIN SSH2 (?:ENCRYPTED )?PRIVATE KEY ----\r?\n(?:[\w-]{1,64}:[^\n]{0,200}\n)*(?P<s>(?:[A-Za-z0-9+/=]{8,400}\s{1,8})+)"),
    Rule("private-key", "high", rf"(?i)\b(?:private|pre-?shared)[ _-]?key\s{{0,8}}[:=]\s{{0,4}}(?P<s>{_B64}{{43}}=)"),
    Rule("private-key", "high", rf"^(?:\S{{1,15}}\t)?(?P<s>{_B64}{{43}}=)\t{_B64}{{43}}=\t[0-9]{{1,5}}\t"),
    Rule("private-key", "high",
         r"(?i)^\s{0,8}(?:privateExponent|prime[12]|exponent[12]|coefficient|priv|private(?:-key)?):\s{0,4}\r?\n(?P<s>(?:[ \t]{1,12}(?:[0-9a-f]{2}:)+(?:[0-9a-f]{2})?\r?\n?)+)"),
    Rule("private-key", "high", rf"(?:secret|encrypted) key\r?\n(?P<s>RW{_B64}{{60,600}}={{0,2}})"),
    Rule("private-key", "high", rf"<(?:D|P|Q|DP|DQ|InverseQ)>\s{{0,8}}(?P<s>{_B64}{{40,1000}}={{0,2}})\s{{0,8}}</"),
    Rule("private-key", "high", r"session key: '[0-9]{1,2}:(?P<s>[0-9A-F]{32,64})'"),
    Rule("private-key", "high", rf"client-key-data['\"]?\s{{0,4}}:\s{{0,4}}['\"]?(?P<s>{_B64}{{40,1000}}{_B64}*={{0,2}})"),
    Rule("private-key", "high", rf"^(?:CLIENT_RANDOM|\w{{3,40}}(?:TRAFFIC|EXPORTER)_SECRET(?:_[0-9])?)[ ]{_H}{{64}}[ ](?P<s>{_H}{{64,96}})"),
    Rule("private-key", "high", rf"\b(?:MK dump|Master-Key|Resumption PSK):\s{{1,8}}(?P<s>{_H}{{64,96}}|(?:{_H}{{2}}[ \t\n]+){{16,64}})"),
    Rule("private-key", "high", rf"\bKEY\s{{1,4}}[0-9]{{1,5}}\s{{1,4}}3\s{{1,4}}(?:157|16[0-5])\s{{1,4}}(?P<s>{_B64}{{20,200}}={{0,2}})"),
    Rule("private-key", "high", rf"^\s{{0,8}}key\s{{0,4}}=\s{{0,4}}(?P<s>AQ{_B64}{{36}}==)"),
    # Wallets: BIP 39, Solana, what deploys contracts.
    Rule("seed-phrase", "high", r"^(?P<s>(?:[a-z]{3,8}[ ]){11,23}[a-z]{3,8})[ \t\r]*$", judge=_phrase),
    Rule("seed-phrase", "high", r"^[ \t]{0,8}1[.):][ \t]{1,8}(?P<s>[a-z]{3,8}(?:\s{1,8}[0-9]{1,2}[.):][ \t]{1,8}[a-z]{3,8})+)[ \t\r]*$", judge=_phrase),
    Rule("private-key", "high", r"^[ \t]{0,8}\[[ ]?(?P<s>(?:[0-9]{1,3},[ ]?){63}[0-9]{1,3})[ ]?\][ \t\r]*$", judge=_bytes),
    Rule("private-key", "high", rf"(?i)accounts['\"]?\s{{0,4}}[:=]\s{{0,4}}\[\s{{0,20}}['\"](?P<s>(?:0x)?{_H}{{64}})['\"]"),
    # Vault, Consul, Nomad.
    Rule("vault-key", "high", r"(?i)\b(?:unseal|recovery) key(?: share)? ?[0-9]{1,2}\s{0,4}:\s{0,4}(?P<s>[A-Za-z0-9+/=]{40,90})"),
    Rule("vault-key", "high",
         r"\"(?:unseal_keys_b64|unseal_keys_hex|recovery_keys_b64|recovery_keys_hex|keys_base64|recovery_keys_base64|keys_hex)\"\s{0,4}:\s{0,4}\[\s{0,20}\"(?P<s>[A-Za-z0-9+/=]{40,90}(?:\"\s{0,4},\s{0,20}\"[A-Za-z0-9+/=]{40,90})*)"),
    Rule("vault-key", "high", rf"(?i)\bsecret[_ ]?id[\s:=\"|]{{1,60}}(?P<s>{_UUID})"),
    Rule("vault-key", "high", rf"\bencrypt\"?\s{{0,4}}[:=]\s{{0,4}}\"(?P<s>{_B64}{{22}}==|{_B64}{{43}}=)\""),
    # AWS: the secret beside its id, as text, in a table or in CSV.
    Rule("aws-secret-key", "high", r"\bA[KS]IA[A-Z0-9]{16}\b[^A-Za-z0-9+/=](?:[^\n]{0,120}?[\s|,\"':])?(?P<s>[A-Za-z0-9+/]{40})(?:$|[\s|,\"'])", judge=_random),
    Rule("aws-secret-key", "high", r"(?i)secret_?access_?key[\s|:=\"',]{1,40}(?P<s>[A-Za-z0-9+/]{40})(?:$|[\s|,\"'])", judge=_random),
    # Hashes of passwords, by what made them.
    Rule("password-hash", "high",
         rf"(?P<s>SCRAM-SHA-(?:1|256|512)\$[0-9]{{1,8}}:{_B64}{{16,60}}={{0,2}}\$[A-Za-z0-9+/=]{{20,100}}:[A-Za-z0-9+/=]{{20,100}}|\$[PH]\$[./A-Za-z0-9]{{31}}|\$S\$[./A-Za-z0-9]{{52}}"
         rf"|\$scrypt\$[^\s:'\"]{{30,300}}|scrypt:[0-9]{{1,8}}:[0-9]{{1,3}}:[0-9]{{1,3}}\$[^\s$]{{4,64}}\${_H}{{64,128}}|pbkdf2:sha[0-9]{{1,3}}(?::[0-9]{{1,8}})?\$[^\s$]{{4,64}}\${_H}{{40,128}}"
         rf"|\$krb5(?:tgs|asrep|pa)\$[^\s'\"]{{40,1000}}|\$DCC2\$[0-9]{{1,8}}#[^#\s]{{1,64}}#{_H}{{32}}|\$A\$0[0-9]{{2}}\$[^\n|'\"]{{20}}[./A-Za-z0-9]{{43}}"
         rf"|\$pbkdf2-sha(?:1|256|512)\$[^\s:'\"]{{30,300}}|bcrypt_sha256\$[^\s:'\"]{{40,200}})"),
    Rule("password-hash", "high", r"(?:^|[\s'\"|])(?P<s>md5[0-9a-f]{32}|\*[0-9A-F]{40})(?:$|[\s'\"|;,])", judge=lambda found: "high" if len(set(found["s"])) > 8 else None),
    Rule("password-hash", "high", rf"\"(?:storedKey|serverKey)\"\s{{0,4}}:\s{{0,4}}\"(?P<s>{_B64}{{27}}=|{_B64}{{43}}=)\""),
    Rule("password-hash", "high", rf"(?m)^\s{{0,16}}\*?\s{{0,4}}(?:NTLM|LM|DPAPI|NThash|NT|aes(?:128|256)_hmac)\s{{0,8}}:\s{{0,4}}(?P<s>{_H}{{32,64}})\b"),
    Rule("password-hash", "high", rf"\b[\w.$-]{{1,64}}::[\w.-]{{0,64}}:{_H}{{16}}:(?P<s>{_H}{{32}}:{_H}{{32,1000}})"),
    Rule("spoken-password", "high", r"\[\+\]\s{1,4}[\w.-]{1,64}\\[\w.$-]{1,64}:(?P<s>[^\s:]{4,128})", judge=likely),
    # Settings of frameworks whose name or place other rules do not know.
    Rule("assigned-secret", "high", r"define\(\s{0,4}['\"](?:AUTH|SECURE_AUTH|LOGGED_IN|NONCE)_(?:KEY|SALT)['\"]\s{0,4},\s{0,40}['\"](?P<s>[^'\"\n]{40,100})['\"]", judge=_made),
    Rule("assigned-secret", "high", r"(?i)secret[_.]?key\s{0,4}=\s{0,4}(?:[rb]{1,2}['\"]|\"|')(?P<s>[^'\"\n]{16,200})['\"]", judge=_made),
    Rule("assigned-secret", "high", rf"\b(?:validation|decryption)Key=\"(?P<s>{_H}{{32,200}})\"", judge=_made),
    Rule("assigned-secret", "high", r"\b[A-Z_]{0,30}SESSION=[\"']?(?P<s>[A-Za-z0-9+/]{60,200}={0,2})", judge=_made),
    Rule("assigned-secret", "high", r"\"result\"\s{0,4}:\s{0,4}\"(?P<s>[^\"\n]{4,256})\"[^{}]{0,400}\}[^{}]{0,200}\"random_password\"", judge=_made),
    Rule("assigned-secret", "high", r"-setcookie\s{1,4}['\"]?(?P<s>[^\s'\"]{6,128})", judge=lambda found: "high" if entropy(found["s"]) >= 3.0 else None),
    Rule("assigned-secret", "high", rf"HidServAuth\s{{1,4}}\S{{1,80}}\.onion\s{{1,4}}(?P<s>{_B64}{{22}})"),
    Rule("assigned-secret", "high", r"\$ANSIBLE_VAULT;[0-9.]{3}(?:;\w{1,32}){1,2}\r?\n(?P<s>(?:[ \t]{0,80}[0-9a-f]{20,80}\r?\n?)+)"),
    Rule("netrc-password", "high", r"machine\s+\S{1,256}\s+password\s+(?P<s>\S{4,256})\s+login\b", judge=likely),
    # What is shown once, below the sentence that says so.
    Rule("spoken-password", "high", r"(?i)(?:password|passphrase|secret|token|master\.key)[^\n]{0,80}\r?\n(?:[ \t]{0,8}\r?\n)?[ \t]{0,16}(?P<s>[0-9a-f]{32,64})[ \t\r]*$", judge=_made),
    Rule("spoken-password", "high", r"(?i)password[^\n]{0,120}\r?\n(?:[ \t]{0,8}new[ ]value|[ \t]{0,8}new[ ]password):[ ]{1,4}(?P<s>\S{8,128})", judge=_made),
    Rule("spoken-password", "high", rf"(?:^|[$#>%][ ])(?:sudo[ ])?(?:{_ASKED})\b[^\n]{{0,200}}\r?\n(?P<s>[^\s:<>();\"]{{8,1000}})[ \t\r]*$", judge=_made),
    Rule("recovery-code", "high", r"(?i)secret[ ]?key(?:[ ]is)?:\s{1,4}(?P<s>[A-Z2-7]{16,64})\b", judge=_made),
    Rule("recovery-code", "high", rf"(?i)(?:scratch|backup|recovery)[ ]codes?[^\n]{{0,40}}:\s{{1,8}}(?P<s>(?:{_CODE}(?:[ \t]{{1,8}}|\r?\n))*{_CODE})(?:\s|$)",
         judge=lambda found: "high" if re.search(rb"[0-9]{2}", found["s"]) else None),
    Rule("recovery-code", "high", r"(?:^|[^0-9-])(?P<s>[0-9]{6}(?:-[0-9]{6}){7})(?:$|[^0-9-])", judge=_groups, first="(?:-[0-9]{6}){7}"),
    Rule("recovery-code", "high", r"(?i)recovery[ ]?key\s{0,4}[:=]\s{0,4}['\"]?(?P<s>[A-Z0-9]{4}(?:-[A-Z0-9]{4}){5})"),
)  # fmt: skip
