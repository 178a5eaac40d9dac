"""Secrets on command lines: what known programs take as an argument, and what any program takes
by an option that is called after a secret.

Shell histories, traces, lists of processes and logs of builds are full of them. What stands there
must still look like a secret: manuals show the same options with words. Must never take a path,
a port or a variable for one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fumehood.scan.detector import Confidence
from fumehood.scan.judging import SNAKE
from fumehood.scan.patterns import Found, Judge, Rule
from fumehood.scan.tokens import is_placeholder, kinds

_ENDS: Final = b".,;:'\"`)]}\\"
# Paths, files behind `@`, what a variable, a prompt or another program gives, ports.
_ELSEWHERE: Final = re.compile(
    rb"-|\[|\{\w+\}?\Z|projects/|(?:~|\.{1,2})?/|@|\\?\$(?:[({]|[A-Za-z_]\w*\Z)|`|\(|<|[{%][{%(]|https?://|(?:env|file|fd|stdin|prompt|vault|op|ssm|arn):"
    rb"|(?:env|stdin|prompt|ask|interactive)\Z|%[A-Za-z_]+%|[0-9.]*:?[0-9]+(?::[0-9]+)?(?:/(?:tcp|udp))\Z"
)
# What manuals write for a value.
_META: Final = re.compile(rb"[A-Z][A-Z0-9]*(?:[_-][A-Z0-9]+)+")
_NO_WORD: Final = re.compile(rb"(?i)[bcdfghjklmnpqrstvwxz]{5}")
_FILE: Final = re.compile(
    rb"[\w./~-]*\.(?:pem|key|crt|cer|p12|pfx|jks|txt|json|ya?ml|toml|conf|cfg|ini|env|py|js|ts|tsx|jsx|go|rs"
    rb"|rb|java|sh|c|h|cc|cpp|md|gz|zip|7z|rar|pdf|sql|log)"
)
# An identifier of a program, as options have that name one: `db-secret-v2`, `site.key`.
_CALLED: Final = re.compile(rb"[a-z]+(?:[-_.][a-z]+)*[-_.]v?[0-9]{1,3}")
# Places in a list, marks of a device, and what switches something off.
_OTHER_OPTION: Final = re.compile(
    rb"(?i)(?:.*[-_.])?(?:page|next|start(?:ing)?|continu\w*|match|sync|csrf|cancel\w*|idempotency|max|num|eos|pad|bos|stop"
    rb"|disabled|no|without|set|load|import|skip|with|use|require|by|bypass|multi|one|two|single|first|second|all)"
    rb"[-_.](?:tokens?|pass(?:word)?|credentials?|secret|key)"
)
# `--secret id=npm,src=.npmrc`; the next argument of a call.
_SETTING: Final = re.compile(
    rb"(?:id|src|source|type|target|env|name|file|key|value|from)=|pass:|[A-Za-z_]+=\Z|[A-Z]+=[a-z]+|\w+\([0-9a-z]*\)\Z|\w+\([0-9]\Z"
)
_PORT: Final = re.compile(rb"[0-9]{1,5}(?:[:-][0-9]{1,5})*(?:/[a-z]+)?,?")
# What takes both options for something else.
_OTHERS: Final = re.compile(
    rb"\b(?:mkdir|cp|mv|rm|install|run|exec|git|patch|diff|tar|ps|pgrep|pkill|strace|lsof|nmap|ss|ssh|scp|sftp"
    rb"|rsync|sudo|su|docker-compose|compose|podman|make|grep|find|xargs|touch|chmod|pytest|java|node|npx"
    rb"|useradd|usermod|journalctl|systemctl|tcpdump|netstat|iptables|psql|createdb|pg_dump|pg_restore)\b"
)


def likely(found: Found) -> Confidence | None:
    """What stands where nothing but a secret does."""
    value = found["s"].rstrip(_ENDS)
    shown = value.partition(b"|")[0].strip(_ENDS + b"[")
    if len(value) < 4 or is_placeholder(shown) or _ELSEWHERE.match(value):
        return None
    if shown.isalpha() or SNAKE.fullmatch(value) or _META.fullmatch(value):
        mixed = kinds(value) > 1 and len(value) >= 12
        return "medium" if mixed and _NO_WORD.search(value) else "low"
    return "high" if kinds(value) >= 3 or len(value) >= 12 else "medium"


def _named(found: Found) -> Confidence | None:
    """Behind an option that is called after a secret, of whatever program."""
    value = found["s"].rstrip(_ENDS)
    sure = likely(found)
    if sure in (None, "low") or _FILE.fullmatch(value) or value.isdigit():
        return None
    if _CALLED.fullmatch(value) or _SETTING.match(value) or _OTHER_OPTION.fullmatch(found["n"]):
        return None
    return "medium" if kinds(value) >= 2 else None


def _beside_user(found: Found) -> Confidence | None:
    """`-u NAME … -p VALUE` of a program that nobody has listed."""
    value = found["s"].rstrip(_ENDS)
    if _named(found) is None or _PORT.fullmatch(value) or b"/" in value or b"," in value:
        return None
    start = found.span[0]
    line = found.data[max(0, start - 300) : start]
    cut = max(line.rfind(mark) for mark in (b"\n", b";", b"|", b"&"))
    return None if _OTHERS.search(line[cut + 1 :]) else "medium"


def _blanks(found: Found) -> Confidence | None:
    """A phrase in quotes, which only they end."""
    value = found["s"]
    words = value.split()
    if b" " not in value or is_placeholder(value) or _ELSEWHERE.match(value):
        return None
    return "medium" if kinds(value) >= 3 or len(words) >= 4 else None


def _user(found: Found) -> Confidence | None:
    value = found["s"].rstrip(_ENDS)
    if len(value) < 3 or is_placeholder(value) or _ELSEWHERE.match(value) or _PORT.fullmatch(value):
        return None
    short = value.isalpha() and len(value) < 12
    return "low" if short or SNAKE.fullmatch(value) else "high"


_ARGS: Final = r"(?:\\\r?\n|[\"'],\s+[\"']|[^\n|;]){0,300}?"
"""Between a program and its option: also lines that go on, and the strings of a list."""
_GAP: Final = r"(?:[\"'],\s{0,40}|[ =\t]{1,4})[\"']?"
_GLUED: Final = r"(?:[\"'],\s{0,40}|[ =\t]{0,4})[\"']?"
_S: Final = r"(?P<s>[^\s\"'`]{4,256})"
_LOGIN: Final = (
    r"(?:docker|podman|nerdctl|buildah|skopeo|crane|oras|regctl|helm registry|az(?: acr)?|oc|cf|ibmcloud|argocd"
    r"|faas-cli|jf rt|vault|rancher|cloudsmith|heroku|kion|mc|tsh|okteto|flux)\s+login"
)
_NAMES: Final = (
    r"(?:password|passwd|pass|passphrase|passcode|pwd|secret|token|api-?key|secret-?key|access-?key|auth-?key"
    r"|client-?secret|credentials?|requirepass|masterauth|secret-string|psk|community)"
)
_ASKS: Final = (
    r"(?:sudo[ \t]+(?:-\S+[ \t]+)*-S|su\b|passwd\b|smbpasswd|vncpasswd|cryptsetup|kinit|ssh-add|ansible-vault|secret-tool"
    r"|pass[ \t]+insert|wrangler[ \t]+secret|gh[ \t]+secret|gcloud[ \t]+secrets|(?:docker|podman)[ \t]+secret[ \t]+create"
    r"|(?:docker|podman|nerdctl|buildah|helm|skopeo|crane|oras|gh|glab|az|argocd|npm|cf|oc|vault|flyctl|fly)\s[^\n|]{0,160}?"
    r"(?:login|secret|--password-stdin|--with-token)|gpg\b[^\n|]{0,160}?--passphrase-fd|openssl\b[^\n|]{0,160}?stdin)"
)
"""Who reads a secret from a pipe."""


def _option(
    programs: str, options: str, judge: Judge = likely, value: str = _S, gap: str = _GAP
) -> Rule:
    """What one of `programs` takes by one of `options`."""
    return Rule(
        "argument-password", "high",
        rf"\b(?:{programs})(?:[\s\"']{_ARGS})?[\s\"'](?:{options}){gap}{value}", judge=judge,
    )  # fmt: skip


def _line(pattern: str, judge: Judge = likely, name: str = "argument-password") -> Rule:
    return Rule(name, "high", pattern, judge=judge)


RULES: Final[Sequence[Rule]] = (
    # Any program: --db-password X, --auth-token=X, -storepass X; /pass:X of Windows.
    _line(rf"(?i)(?:^|[\s'\"`\x00])--?(?P<n>(?:[a-z0-9]{{1,24}}[-_.]){{0,4}}{_NAMES})[ =\x00\t]{{1,4}}[\"']?"
          r"(?P<s>[^\s'\"`\x00]{4,256})", _named, "command-line-password"),
    _line(r"(?:^|[\s'\"`])--?(?P<n>[a-z0-9]{1,24}(?:[A-Z][a-z0-9]{1,24}){0,3}(?:Pass(?:word|wd|phrase)?|Secret|Token|"
          r"(?:Api|Access|Secret)Key)"
          rf"|storepass|keypass|(?:src|dest)(?:store|key)pass|pw|adminpw|rootpw)[ =][\"']?{_S}", _named, "command-line-password"),
    _line(rf"(?i)\s/(?:pass|password|pwd|rp):[\"']?{_S}", _named, "command-line-password"),
    _line(r"(?i)(?:^|\s)--?(?:[a-z0-9]{1,24}[-_]){0,3}(?:password|passwd|passphrase|pass|secret)[ =]\"(?P<s>[^\"\n]{8,200})\"",
          _blanks, "command-line-password"),
    _line(r"(?i)(?:^|\s)--?(?:[a-z0-9]{1,24}[-_]){0,3}(?:password|passwd|passphrase|pass|secret)[ =]'(?P<s>[^'\n]{8,200})'",
          _blanks, "command-line-password"),
    # A name and a password beside each other, of programs that are not listed below.
    _line(rf"\s-(?:u|U|l|user|username)[ =]?[\"']?[\w.@\\-]{{1,64}}[\"']?(?:\s{_ARGS})?\s-p[ =]?[\"']?{_S}", _beside_user),
    # Programs, by their own options.
    _option("mysql|mysqldump|mysqladmin|mysqlimport|mysqlsh|mysqlslap|mysqlcheck|mysqlbinlog|mytop|innobackupex|xtrabackup"
            r"|mariadb(?:-[a-z]+)?", "-p", value=r"(?P<s>[^\s\"'=-][^\s\"']{3,255})", gap=r"[\"']?"),
    _option("sshpass", "-p", gap=_GLUED),
    _option("twine|poetry publish|evil-winrm|smbmap|crackmapexec|cme|nxc|netexec|bloodhound-python|psexec(?:64)?|cqlsh|influx"
            "|xfreerdp|medusa|hydra|rabbitmqadmin", "-p", lambda found: _known(found)),
    _option("mongo(?:sh|dump|restore|export|import|stat|top)?", "-p", value=r"(?P<s>[^\s\"'-][^\s\"']{3,255})", gap=_GLUED),
    _line(rf"\b{_LOGIN}(?:[\s\"']{_ARGS})?[\s\"']-p{_GAP}{_S}"),
    _line(rf"\baz[ \t]+(?:sql|mysql|postgres|mariadb|login|acr|ad)(?:\s{_ARGS})?\s-p[ =]?[\"']?{_S}", lambda found: _known(found)),
    _option("useradd|usermod|adduser", "-p"),
    _option("redis-cli|valkey-cli|keydb-cli|ldappasswd", "-a"),
    _option("ldappasswd", "-s"),
    _option(r"ldap(?:search|modify|add|delete|passwd|whoami|modrdn|compare|exop)|ldapvi", "-w", gap=_GLUED),
    _option("ipmitool|mosquitto_(?:pub|sub|rr)|sqlcmd|bcp|tsql|isql|zip|unzip|zipcloak", "-P", lambda found: _known(found), gap=_GLUED),
    _option("xfreerdp|wfreerdp|mstsc|freerdp|sdl-freerdp", "/p:", gap=_GLUED),
    _option("rdesktop", "-p"),
    _option("7z[arz]?|rar|unrar|p7zip", "-p", value=r"(?P<s>[^\s\"'-][^\s\"']{3,255})", gap=r"[\"']?"),
    _option(r"openssl[ \t]+enc|openssl[ \t]+aes[\w-]*|openssl[ \t]+des[\w-]*", "-k|-K"),
    _option("gh secret set|gh variable set", "-b|--body", gap=_GLUED),
    _option("plink|pscp|psftp|putty|kitty|klink|winscp", "-pw|/password"),
    _option(r"curl|wget|nikto|ab|siege|aria2c|https?|xh|http-prompt|davfs|cadaver|sqlmap|ffuf|lwp-request|elinks|restic",
            r"-[a-zA-Z]{0,6}[uaA]|--user|--proxy-user|--auth|--auth-cred|--basic", _user,
            value=r"[^\s:\"'/]{1,128}:(?P<s>[^\s\"']{3,256})", gap=_GLUED),
    _option(r"smbclient|rpcclient|smbget|smbcacls|smbtree|net|mount\.cifs|nmblookup|wbinfo|winexe|wmic|pth-[a-z]+|samba-tool",
            r"-U|--user|username|user", value=r"[^\s%\"']{1,128}%(?P<s>[^\s\"']{4,256})", gap=_GLUED),
    _option("mount(?:\\.cifs)?", "-o", value=r"[^\s\"']{0,200}?\bpass(?:word|wd)?=(?P<s>[^\s\"',]{4,256})"),
    _option("lftp|ncftp(?:get|put|ls)?", "-u", value=r"[^\s,\"']{1,64},(?P<s>[^\s\"']{4,256})", gap=_GLUED),
    # SNMP: communities, and the two keys of version 3.
    Rule("snmp-community", "high", rf"\bsnmp(?:walk|get|getnext|bulkwalk|bulkget|set|table|status|trap|translate|delta"
          rf"|test|netstat|df|inform)(?:[\s\"']{_ARGS})?[\s\"']-c{_GLUED}{_S}",
         judge=likely),
    _option(r"snmp(?:walk|get|getnext|bulkwalk|bulkget|set|table|status|trap|inform|usm|vacm|df|netstat)", "-A|-X",
            lambda found: None if re.fullmatch(rb"(?:MD5|SHA|AES|DES)[-0-9]*[a-z]?", found["s"]) else likely(found), gap=_GLUED),
    Rule("snmp-community", "high", r"(?:^|[\s!])(?:r[ow]community6?|snmp-server[ \t]+community|snmp[ \t]+community"
          r"|trapcommunity|onesixtyone[ \t]+\S+)[ \t]+\"?(?P<s>[^\s\"]{4,128})",
         judge=likely),
    Rule("snmp-community", "high", r"^com2sec6?[ \t]+\S{1,64}[ \t]+\S{1,64}[ \t]+\"?(?P<s>[^\s\"]{4,128})", judge=likely),
    _line(r"\bcreateUser[ \t]+\S{1,64}[ \t]+(?:SHA|MD5)[-0-9]*[ \t]+\"?(?P<s>[^\s\"]{8,128})"),
    # A password by its place, as the program's manual says.
    _line(rf"\bhtpasswd[ \t]+(?:-[A-Za-z0-9]+[ \t]+){{0,6}}-[A-Za-z]*b[A-Za-z]*[ \t]+(?:-\S+[ \t]+){{0,6}}"
          rf"(?:\S{{1,256}}[ \t]+)?\S{{1,128}}[ \t]+[\"']?{_S}"),
    _line(rf"\bmosquitto_passwd[ \t]+(?:-[A-Za-z][ \t]+){{0,4}}-b[ \t]+\S{{1,256}}[ \t]+\S{{1,128}}[ \t]+[\"']?{_S}"),
    _line(rf"\brabbitmqctl[ \t]+(?:-\S+[ \t]+\S+[ \t]+){{0,3}}(?:add_user|change_password"
          rf"|authenticate_user)[ \t]+[\"']?\S{{1,128}}[\"']?[ \t]+[\"']?{_S}"),
    _line(rf"\bwpa_passphrase[ \t]+(?:\"[^\"\n]{{1,32}}\"|'[^'\n]{{1,32}}'|\S{{1,32}})[ \t]+[\"']?{_S}", name="network-password"),
    _line(rf"\bnmcli\s[^\n|;]{{0,200}}?\s(?:password|wifi-sec\.psk"
          rf"|802-11-wireless-security\.psk)[ \t]+[\"']?{_S}", name="network-password"),
    _line(rf"\b(?:poetry|composer)[ \t]+config\s[^\n|;]{{0,100}}?(?:http-basic\.\S{{1,128}}[ \t]+\S{{1,128}}"
          rf"|pypi-token\.\S{{1,64}}|(?:gitlab|github|bearer|bitbucket)[\w-]*\.\S{{1,128}})[ \t]+[\"']?{_S}"),
    _line(rf"\b(?:npm|pnpm|yarn)[ \t]+config[ \t]+set\s[^\n|;]{{0,200}}?(?:_authToken|_auth|_password|npmAuthToken"
          rf"|npmAuthIdent)[\"']?[ =][\"']?{_S}", name="npmrc-token"),
    _line(rf"\baws[ \t]+configure[ \t]+set[ \t]+(?:[\w.-]*\.)?(?:aws_secret_access_key|aws_session_token)[ \t]+[\"']?{_S}"),
    _line(rf"\brclone[ \t]+(?:config[ \t]+(?:create|update|password)\s[^\n|;]{{0,200}}?\s(?:pass|password|token|key"
          rf"|secret_access_key)[ =]|obscure[ \t]+)[\"']?{_S}"),
    _line(r"(?i)\bnet[ \t]+use[ \t]+(?:[a-z*]:?[ \t]+)?\\\\\S{3,256}[ \t]+(?P<s>[^\s/*]\S{3,127})[ \t]+/user:"),
    _line(r"(?i)\bnet[ \t]+use[ \t]+(?:[a-z*]:?[ \t]+)?\\\\\S{3,256}[ \t]+/user:\S{1,128}[ \t]+[\"']?(?P<s>[^\s/*\"']\S{3,127})"),
    _line(r"(?i)\bnet[ \t]+user[ \t]+(?:\"[^\"\n]{1,64}\"|\S{1,64})[ \t]+(?P<s>[^\s/*]\S{3,127})(?:[ \t]+/(?:add"
          r"|domain)\b|[ \t\r]*$)"),
    _line(rf"\bschtasks\b[^\n]{{0,300}}?\s/rp[ \t]+[\"']?{_S}"),
    _line(rf"\bopenssl\s[^\n]{{0,300}}?\bpass:{_S}"),
    _line(rf"\bopenssl[ \t]+passwd[ \t]+(?:-\S+[ \t]+(?:-salt[ \t]+\S+[ \t]+)?){{0,3}}[\"']?{_S}"),
    _line(rf"\bpdftk\s[^\n|;]{{0,300}}?\b(?:user_pw|owner_pw|input_pw)[ \t]+[\"']?{_S}"),
    _line(rf"\bqpdf\s[^\n|;]{{0,200}}?--encrypt[ \t]+(?:\S{{1,128}}[ \t]+)?[\"']?{_S}[ \t]+(?:\S{{1,128}}[ \t]+)?(?:40|128|256)\s"),
    _line(r"\b(?:\w{2,40}\.py|impacket-\w{2,40})\s(?:[^\n"
          r"|;]{0,200}?\s)?[\"']?[\w.-]{1,64}/[\w.$-]{1,64}:[\"']?(?P<s>[^\s\"'@/:]{4,128})[\"']?@[\w.-]{3,128}(?:\s|$)",
          lambda found: likely(found) if kinds(found["s"]) >= 2 else None),
    _line(rf"(?i)\bset[ \t]+\w{{0,20}}(?:pass|password)[ \t]+[\"']?{_S}[\"']?[ \t\r]*$", _named),
    _line(rf"\bansible-vault[ \t]+encrypt_string[ \t]+(?:-\S+[ \t]+\S+[ \t]+){{0,4}}[\"']?{_S}"),
    _line(r"\bvirsh[ \t]+secret-set-value\s[^\n|;]{0,200}?(?:--base64[ \t]+)?(?P<s>[A-Za-z0-9+/]{8,512}={0,2})[ \t\r]*$"),
    # What auditd writes of a program that was started.
    _line(rf"\ba[0-9]{{1,3}}=\"--?(?:[a-z0-9]{{1,24}}[-_.]){{0,4}}{_NAMES}\"[ \t]+a[0-9]{{1,3}}=\"(?P<s>[^\"\n]{{4,256}})\"", _named),
    # Names and values of stores of secrets.
    _line(rf"--from-literal[= ][\"']?[\w.-]{{1,128}}=[\"']?{_S}"),
    _line(rf"\b(?:vault|bao)[ \t]+(?:kv[ \t]+(?:put|patch)|write)[ \t]+(?:-\S+[ \t]+){{0,4}}\S{{1,256}}\s(?:[^\n"
          rf"|;]{{0,200}}?\s)?(?:value|[\w.-]{{0,40}}(?:pass|secret|key|token|pw)[\w.-]{{0,20}})=[\"']?{_S}"),
    _line(rf"\b(?:fly|flyctl|heroku|doppler|railway|netlify|vercel|supabase|wrangler|pulumi|chamber|sops|infisical"
          rf"|dokku)[ \t]+(?:secrets?|config|env|variables?)(?:[ \t]+|:)(?:set|add|write|put)\s(?:[^\n"
          rf"|;]{{0,200}}?[\s\"'])?[A-Za-z_][A-Za-z0-9_]{{1,64}}[= ][\"']?{_S}", _named),
    _line(rf"\bpulumi[ \t]+config[ \t]+set\s[^\n|;]{{0,100}}?--secret[ \t]+(?:[\w:.-]{{1,64}}[ \t]+)[\"']?{_S}"),
    _line(rf"\baz[ \t]+keyvault[ \t]+secret[ \t]+set\b[^\n|;]{{0,300}}?--value[ =][\"']?{_S}"),
    _line(rf"\baws[ \t]+(?:secretsmanager\s[^\n|;]{{0,300}}?--secret-string|ssm[ \t]+put-parameter\b[^\n"
          rf"|;]{{0,300}}?SecureString[^\n|;]{{0,300}}?--value)[ =][\"']?{_S}"),
    _line(rf"\baws[ \t]+ssm[ \t]+put-parameter\b[^\n|;]{{0,300}}?--value[ =][\"']?{_S}[^\n|;]{{0,300}}?SecureString"),
    _line(r"\bhelm\s[^\n|;]{0,400}?--set(?:-string)?[ =][\"']?(?:[^\s\"']{0,200},)?[\w.\[\]-]{0,100}(?:pass|password"
          r"|passwd|secretKey|apiKey|token|pwd)=[\"']?(?P<s>[^\s\"',]{4,256})"),
    # What is piped, or given as a here-string, to who asks for a secret.
    _line(r"\b(?:echo|printf)[ \t]+(?:-[neE]+[ \t]+)?(?:[\"']%s(?:\\n)?[\"'][ \t]+)?[\"']?(?P<s>[^\s\"'|]{4,256}?)"
          r"(?:\\n)?[\"']?\s*\|\s*"
          rf"(?:[^\n|]{{0,60}}?\s)?{_ASKS}"),
    _line(r"\b(?:sudo[ \t]+-S|su|passwd|smbpasswd|cryptsetup|kinit|docker[ \t]+login|gh[ \t]+auth[ \t]+login"
          r"|docker[ \t]+secret[ \t]+create"
          r"|vault[ \t]+login|gh[ \t]+secret[ \t]+set)\b[^\n|;]{0,200}?<<<\s*[\"']?(?P<s>[^\s\"']{4,256})"),
    _line(r"\becho[ \t]+(?:-\w[ \t]+)?[\"']?[a-z_][a-z0-9_-]{0,31}:(?P<s>[^\s\"'|]{4,256})[\"']?\s*\|\s*"
          r"(?:sudo[ \t]+)?chpasswd", name="chpasswd-password"),
)  # fmt: skip


def _known(found: Found) -> Confidence | None:
    """Of programs of which some have a port or a path by that option."""
    value = found["s"].rstrip(_ENDS)
    if _PORT.fullmatch(value) and len(value) < 6:
        return None
    return None if _FILE.fullmatch(value) or b"://" in value else likely(found)
