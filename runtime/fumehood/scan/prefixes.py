"""Tokens of more providers, by the beginning or the mark that each puts into its own.

Shapes are those that providers publish. A beginning that words of code have as well counts only
with what a machine made behind it. Must never take what is public by intent: `pk_live_…`, `pk.…`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import Final

from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, Judge, Rule

_SAID: Final = re.compile(rb"(?i)example|your|xxxx|placeholder|1234567890ab|0123456789ab")
_PUBLIC: Final = re.compile(rb"(?i)(?:^|[_-])(?:pk|pub|public|publishable|sha[0-9]*|anon)[_-]")


def _varied(found: Found) -> Confidence | None:
    token: bytes = found["s"]
    if len(set(token[6:])) < 8 or _SAID.search(token):
        return "low"
    return "high"


def _made(found: Found) -> Confidence | None:
    """Behind its mark stand digits and letters without an order."""
    tail = re.split(rb"[_:|!.-]", found["s"].rstrip(b"_-="))[-1]
    tail = tail if len(tail) >= 12 else found["s"][4:]
    if not (re.search(rb"[0-9]", tail) and re.search(rb"[A-Za-z]", tail)):
        return None
    if b"_" in found["s"][5:] and len(re.findall(rb"[A-Z]", found["s"])) < 4:
        return None  # `live_reload_of_modules_with_python3`
    return _varied(found) if len(set(tail)) >= 9 else None


def _named(found: Found) -> Confidence | None:
    """A beginning that calls itself a secret, of a provider that nobody has listed."""
    token, tail = found["s"], found["t"]
    if _PUBLIC.search(token) or len(set(tail)) < 14 or _SAID.search(token):
        return None
    large, small = re.search(rb"[A-Z]", tail), re.search(rb"[a-z]", tail)
    return "medium" if large and small and len(re.findall(rb"[0-9]", tail)) >= 2 else None


def _decoded(mark: bytes) -> Judge:
    def judge(found: Found) -> Confidence | None:
        value = found["s"]
        try:
            said = binascii.a2b_base64(value + b"=" * (-len(value) % 4))
        except binascii.Error:
            return None
        return "high" if re.match(mark, said) else None

    return judge


_B: Final = r"(?:^|[^A-Za-z0-9+/_.-])"
_E: Final = r"(?:$|[^A-Za-z0-9+/_-])"
_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_W: Final = "[A-Za-z0-9_-]"
_N: Final = "[A-Za-z0-9]"

_LONG: Final = "|".join((
    r"xoxd-[A-Za-z0-9%+/_=-]{40,400}", rf"sk_org_(?:live|test)_{_N}{{20,200}}", rf"md-{_W}{{22}}", r"xsmtpsib-[0-9a-f]{64}-[A-Za-z0-9]{16}",
    r"packagist_[a-z]{3}_[0-9a-f]{60,80}", r"jina_[0-9a-f]{32}[A-Za-z0-9_-]{20,40}", r"dose[0-9a-f]{32}", r"lin_oauth_[0-9a-f]{64}", rf"fig[ruoh]_{_W}{{36,60}}",
    r"[0-9a-f]{36}NRAL", r"NRJS-[0-9a-f]{19}", r"NRI[IQ]-[A-Za-z0-9_-]{32}", rf"ddapp_{_N}{{34}}", rf"ddpat_{_N}{{22}}_{_N}{{40}}", r"hca?ik_[a-z0-9]{58}", r"hcxik_[a-z0-9]{58}",
    r"dt0[a-z][0-9]{2}\.[A-Z0-9]{8,24}\.[A-Z0-9]{64}", rf"pylf_v[0-9]+_[a-z]{{2}}_{_N}{{43}}", r"shprt_[0-9a-fA-F]{32}", r"access_token\$(?:production|sandbox)\$[a-z0-9]{16}\$[0-9a-f]{32}",
    r"access_token\$(?:production|sandbox)[a-z0-9]{16}[0-9a-f]{32}", rf"rzp_(?:live|test)_{_N}{{14,20}}", r"FLWSECK(?:_TEST)?-[A-Za-z0-9]{12,40}-X", rf"access-(?:production|sandbox|development)-{_UUID}",
    rf"(?:sk|sdk|api|mob)[_-]{_UUID}", rf"sk-lf-{_UUID}", rf"amzn\.mws\.{_UUID}", r"amzn1\.oa2-cs\.v1\.[0-9a-f]{64}", r"Atz[ar]\|[A-Za-z0-9_/+=-]{50,600}", r"GOOG[A-Z0-9]{20,57}", r"AQ\.A[A-Za-z0-9_-]{40,80}",
    rf"AAAA{_W}{{7}}:APA91b{_W}{{130,160}}", rf"AQVN{_W}{{35,38}}", r"t1\.[A-Z0-9a-z_-]+[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}", r"y[0-3]_[-_A-Za-z0-9]{50,60}", rf"cf(?:ut|at|k)_{_N}{{40,60}}",
    rf"vercel_blob_rw_{_N}{{8,40}}_{_N}{{20,60}}", r"[012]/[0-9]{10,20}(?:/[0-9]{10,20})?:[0-9a-f]{32}", rf"sl\.(?:u\.)?{_W}{{120,1000}}", r"tfp_[A-Za-z0-9_.=-]{40,80}", rf"aio_{_N}{{28}}", r"pk_[0-9]{6,12}_[A-Z0-9]{32}",
    r"00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{80,120}", r"5Aep861[A-Za-z0-9._]{60,100}", rf"pn[ub]_{_N}{{36}}", r"snyk_[a-z]{3}\.[A-Za-z0-9._-]{40,200}", r"sq[pua]_[0-9a-f]{40}", r"bk(?:at|ct|aj|pt|ua)_[A-Za-z0-9_]{38,80}", rf"fo1_{_W}{{43}}", r"fm[12][ar]?_[A-Za-z0-9+/]{100,1000}={0,3}",
    rf"xau_{_N}{{38}}", rf"p\.eyJ1[A-Za-z0-9_-]{{40,200}}\.{_W}{{43}}", r"st\.[0-9a-f]{24}\.[0-9a-f]{32}\.[0-9a-f]{32}", rf"ngrok_{_N}{{20,30}}_{_N}{{20,30}}", rf"IG(?:QV|AA){_W}{{100,300}}", r"A{22}[A-Za-z0-9%]{80,110}", r"WPL_AP1\.[A-Za-z0-9.]{16,40}={0,2}",
    rf"BBFF-{_N}{{30}}", r"BBDC-[A-Za-z0-9+/@_-]{40,50}", r"dnkey-[a-z0-9=_-]{26}-[a-z0-9=_-]{52}", r"YC[a-zA-Z0-9_-]{38}", rf"endr\+{_N}{{16}}", r"key_[0-9a-f]{64}", rf"(?:test)?sk_{_N}{{32}}\.[a-z]{{2}}", r"secret-(?:live|test)-[A-Za-z0-9_=-]{36}",
    rf"tr_(?:dev|prod|stg|preview)_{_N}{{20,40}}", r"signkey-[a-z]{2,10}-[0-9a-f]{64}", rf"sk_(?:prod|dev)_{_W}{{40,80}}", r"csk-[a-z0-9]{40,60}", rf"flp_{_N}{{40,60}}", r"sk_[0-9a-f]{48}", r"rlwy_[A-Za-z0-9]{30,60}", r"IQoJb3JpZ2luX2Vj[A-Za-z0-9+/]{100,1000}[A-Za-z0-9+/]*={0,2}",
    r"FwoGZXIvYXdz[A-Za-z0-9+/]{100,1000}[A-Za-z0-9+/]*={0,2}", r"gldt-[A-Za-z0-9_-]{20,64}", r"glffct-[A-Za-z0-9_-]{20,64}", r"glwt-[A-Za-z0-9_-]{20,64}", r"pvk_[A-Za-z0-9]{30,80}", r"SWMTKN-1-[a-z0-9]{45,55}-[a-z0-9]{20,30}", r"K10[0-9a-f]{64}::\w{1,20}:[0-9a-f]{16,64}",
    rf"duffel_(?:live|test)_{_W}{{43}}", r"ATST[A-Za-z0-9]{4}[A-Za-z0-9_=-]{100,250}", r"CLOJARS_[0-9a-z]{60}", rf"ctx7sk-{_UUID}", r"nvapi-[A-Za-z0-9_-]{60,80}", r"n8n_api_[0-9a-f]{60,100}", r"apify_api_[A-Za-z0-9]{30,50}", r"patch_[0-9a-f]{40}", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}",
    r"tgp_v[0-9]_[A-Za-z0-9_-]{40,50}", r"dckr_oat_[A-Za-z0-9_-]{30,40}", r"KakaoAK[ ][0-9a-f]{32}", r"oauth:[a-z0-9]{30}", rf"wxp_{_N}{{32}}", r"brs_[A-Za-z0-9]{40}", r"drn_[A-Za-z0-9]{40}", r"pd_[0-9a-f]{40}", r"kfp_[A-Za-z0-9]{30,60}", r"hv[rsb]\.[A-Za-z0-9_-]{24,300}",
))  # fmt: skip
# Azure's and GitHub's way: a mark near the end, and a check behind it.
_MARKED: Final = "|".join((
    r"[A-Za-z0-9]{76}(?:ACRC|APIM|ACDb|AZDO|ACOG)[A-Za-z0-9]{4}={0,2}", r"[A-Za-z0-9+/]{76}\+ASt[A-Za-z0-9+/]{6}==", r"[A-Za-z0-9+/]{42}\+ACR[A-Za-z0-9+/]{6}", r"[A-Za-z0-9]{42}AzSe[A-Za-z0-9]{6}",
    r"[A-Za-z0-9+/]{33}(?:\+AEh|\+ASb|\+ARm|AIoT)[A-Za-z0-9+/]{6}=", r"[A-Za-z0-9_-]{44}AzFu[A-Za-z0-9_-]{6}==", r"[A-Za-z0-9+/]{76}ACDb[A-Za-z0-9+/]{4}==", r"[A-Za-z0-9]{33}AzCa[A-Za-z0-9]{6}=",
))  # fmt: skip
# Short beginnings, which words of code have, too.
_SHORT: Final = "|".join((
    r"cio[A-Za-z0-9]{32}", r"fw_[A-Za-z0-9]{20,30}", r"(?:live|test)_[A-Za-z0-9]{30,60}", r"live_[A-Za-z0-9_-]{40}", r"AQE[A-Za-z0-9]{50,80}-[A-Za-z0-9+/=]{40,60}-[A-Za-z0-9<>(){}]{16}", r"u\+[A-Za-z0-9_-]{18}",
    r"pa-[A-Za-z0-9_-]{43}", r"SSWS[ ]00[A-Za-z0-9_-]{40}", r"ContentfulCFPAT-[A-Za-z0-9_-]{40,50}", r"tok_(?:live|test)_[A-Za-z0-9]{20,60}", r"fpk?_[A-Za-z0-9]{36,60}",
    r"EAAA[A-Za-z0-9_-]{60}", r"napi_[a-z0-9]{50,70}", r"pat\.[A-Za-z0-9_-]{22}\.[0-9a-f]{24}\.[A-Za-z0-9]{20}",
))  # fmt: skip

RULES: Final[Sequence[Rule]] = (
    Rule("prefixed-token", "high", rf"{_B}(?P<s>{_LONG}){_E}", judge=_varied),
    Rule("prefixed-token", "high", rf"{_B}(?P<s>{_MARKED}){_E}", judge=_varied),
    Rule("prefixed-token", "high", rf"{_B}(?P<s>{_SHORT}){_E}", judge=_made),
    Rule("prefixed-token", "high", rf"{_B}(?P<s>[0-9a-f]{{32}}-[0-9a-f]{{8}}-[0-9a-f]{{8}}){_E}", judge=_made, first="[0-9a-f]{32}"),
    Rule("prefixed-token", "high",
         rf"{_B}(?P<s>(?:[a-z0-9]{{2,16}}[_-]){{0,2}}(?:sk|secret|token|pat|key|apikey|live|prod|svcacct|priv)[_-](?:[a-z0-9]{{1,8}}[_-]){{0,2}}(?P<t>[A-Za-z0-9]{{24,200}})){_E}",
         judge=_named),
    Rule("prefixed-token", "high", rf"{_B}(?P<s>dG9rO[A-Za-z0-9+/]{{40,80}}={{0,2}}){_E}", judge=_decoded(rb"tok:[0-9a-f_]{20,}:")),
    Rule("prefixed-token", "high", rf"{_B}(?P<s>eyJ[A-Za-z0-9+/]{{60,1000}}[A-Za-z0-9+/]*={{0,2}})(?:$|[^A-Za-z0-9+/_.-])",
         judge=_decoded(rb'\{\s?"(?:k|a|payload|t)"\s?:\s?"[^"]{16,}"\s?,\s?"(?:n|t|s|datakey)"\s?:')),
    # Two in one: whose it is, and the secret.
    Rule("prefixed-token", "high", rf"\bSCW[A-Z0-9]{{17}}\s{{1,4}}(?P<s>{_UUID})"),
    Rule("prefixed-token", "high", r"\bp-[A-Za-z0-9]{12}\s{1,4}(?P<s>[A-Za-z0-9+/]{43}=)"),
    Rule("prefixed-token", "high", r"\bsu[A-Za-z0-9]{12}\s{1,4}(?P<s>[A-Za-z0-9]{64})", judge=_varied),
    Rule("prefixed-token", "high", rf"(?P<s>organizations/{_UUID}/apiKeys/{_UUID})"),
    Rule("webhook-url", "high",
         r"(?P<s>https://(?:open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/|oapi\.dingtalk\.com/robot/send\?access_token=|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key="
         r"|hook\.[a-z]{2}[0-9]\.make\.com/|chat\.googleapis\.com/v1/spaces/[^\s\"'<>]{8,60}\?key=|maker\.ifttt\.com/trigger/\w{1,40}/(?:json/)?with/key/|discord(?:app)?\.com/api/webhooks/[0-9]{15,20}/"
         r"|[\w.-]{3,80}/hooks/[a-z0-9]{26})[A-Za-z0-9_/.&=%-]{0,300})"),
)  # fmt: skip
