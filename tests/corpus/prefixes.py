"""One token of each of many providers, alone in prose, in JSON under a name that says nothing, and
in a line of a log. Shapes are those that providers, or catalogues of rules, publish."""

from __future__ import annotations

import base64
import json
import random
import string
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from corpus.sample import Sample

A: Final = string.ascii_letters + string.digits
L: Final = string.ascii_lowercase + string.digits
U: Final = string.ascii_uppercase + string.digits
H: Final = "0123456789abcdef"
D: Final = string.digits
_B62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_pick = random.Random(60221)


def r(count: int, letters: str = A) -> str:
    return "".join(_pick.choice(letters) for _ in range(count))


def uuid() -> str:
    return f"{r(8, H)}-{r(4, H)}-4{r(3, H)}-a{r(3, H)}-{r(12, H)}"


def _checked(prefix: str, count: int) -> str:
    """GitHub's and npm's: CRC-32 of what stands before, in base 62, six characters."""
    text = r(count)
    number, tail = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        tail = _B62[digit] + tail
    return prefix + text + tail


def _jwt() -> str:
    body = base64.urlsafe_b64encode(json.dumps({"sub": r(8), "iat": 1}).encode()).decode()
    return f"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{body.rstrip('=')}.{r(43, A + '-_')}"


def b64(count: int) -> str:
    return base64.b64encode(_pick.randbytes(count)).decode()


ALONE: Final[dict[str, Callable[[], str]]] = {
    "github": lambda: _checked("ghp_", 30), "github oauth": lambda: _checked("gho_", 30),
    "github user": lambda: _checked("ghu_", 30), "github server": lambda: _checked("ghs_", 30),
    "github refresh": lambda: _checked("ghr_", 70), "github fine": lambda: f"github_pat_{r(22)}_{r(59)}",
    "gitlab": lambda: "glpat-" + r(20, A + "-_"), "gitlab routable": lambda: f"glpat-{r(27)}.01.{r(9, L)}",
    "gitlab deploy": lambda: "gldt-" + r(20, A + "-_"), "gitlab runner": lambda: "glrt-" + r(20, A + "-_"),
    "gitlab ci job": lambda: f"glcbt-{r(2, H)}_{r(20, A + '-_')}", "gitlab trigger": lambda: "glptt-" + r(40, H),
    "gitlab feed": lambda: "glft-" + r(20), "gitlab scim": lambda: "glsoat-" + r(20), "gitlab runner old": lambda: "GR1348941" + r(20, A + "-_"),
    "gitlab feature": lambda: "glffct-" + r(20), "gitlab session": lambda: "_gitlab_session=" + r(32, H),
    "slack bot": lambda: f"xoxb-{r(12, D)}-{r(12, D)}-{r(24)}", "slack user": lambda: f"xoxp-{r(12, D)}-{r(12, D)}-{r(12, D)}-{r(32, H)}",
    "slack app": lambda: f"xapp-1-{r(11, U)}-{r(13, D)}-{r(64, H)}", "slack config": lambda: f"xoxe.xoxp-1-{r(166)}",
    "slack refresh": lambda: f"xoxe-1-{r(146)}", "slack cookie": lambda: "xoxd-" + r(120, A + "%+/"), "slack legacy": lambda: f"xoxs-{r(11, D)}-{r(11, D)}-{r(11, D)}-{r(10, H)}",
    "slack webhook": lambda: f"https://hooks.slack.com/services/T{r(8, U)}/B{r(10, U)}/{r(24)}",
    "stripe": lambda: "sk_live_" + r(24), "stripe long": lambda: "sk_live_" + r(99), "stripe restricted": lambda: "rk_live_" + r(24),
    "stripe test": lambda: "sk_test_" + r(24), "stripe webhook": lambda: "whsec_" + r(32), "stripe org": lambda: "sk_org_live_" + r(40),
    "twilio": lambda: "SK" + r(32, H), "sendgrid": lambda: f"SG.{r(22, A + '-_')}.{r(43, A + '-_')}", "mailgun": lambda: "key-" + r(32, H),
    "mailgun new": lambda: f"{r(32, H)}-{r(8, H)}-{r(8, H)}", "mailchimp": lambda: r(32, H) + "-us21", "mandrill": lambda: "md-" + r(22, A + "-_"),
    "brevo": lambda: f"xkeysib-{r(64, H)}-{r(16)}", "brevo smtp": lambda: f"xsmtpsib-{r(64, H)}-{r(16)}", "postmark none": lambda: "POSTMARK_API_TEST_" + r(20),
    "npm": lambda: _checked("npm_", 30), "pypi": lambda: "pypi-AgEIcHlwaS5vcmc" + r(140, A + "-_"), "rubygems": lambda: "rubygems_" + r(48, H), "crates": lambda: "cio" + r(32),
    "nuget": lambda: "oy2" + r(43, L), "packagist": lambda: "packagist_ort_" + r(60, H), "clojars": lambda: "CLOJARS_" + r(60, H), "docker": lambda: "dckr_pat_" + r(27, A + "-_"), "docker org": lambda: "dckr_oat_" + r(32, A + "-_"),
    "digitalocean": lambda: "dop_v1_" + r(64, H), "digitalocean oauth": lambda: "doo_v1_" + r(64, H), "digitalocean refresh": lambda: "dor_v1_" + r(64, H),
    "hugging face": lambda: "hf_" + r(34, string.ascii_letters), "hugging face org": lambda: "api_org_" + r(34, string.ascii_letters),
    "openai": lambda: f"sk-{r(20)}T3BlbkFJ{r(20)}", "openai project": lambda: f"sk-proj-{r(74, A + '-_')}T3BlbkFJ{r(74, A + '-_')}", "openai service": lambda: f"sk-svcacct-{r(74, A + '-_')}T3BlbkFJ{r(74, A + '-_')}", "openai admin": lambda: f"sk-admin-{r(58, A + '-_')}T3BlbkFJ{r(58, A + '-_')}",
    "anthr" + "opic": lambda: f"sk-ant-api03-{r(93, A + '-_')}AA", "anthr" + "opic admin": lambda: f"sk-ant-admin01-{r(93, A + '-_')}AA", "openrouter": lambda: "sk-or-v1-" + r(64, H), "deepseek": lambda: "sk-" + r(32, H),
    "groq": lambda: "gsk_" + r(52), "xai": lambda: "xai-" + r(80), "perplexity": lambda: "pplx-" + r(48), "replicate": lambda: "r8_" + r(37), "fireworks": lambda: "fw_" + r(24), "cerebras": lambda: "csk-" + r(48, L), "nvidia": lambda: "nvapi-" + r(64, A + "-_"), "langsmith": lambda: f"lsv2_pt_{r(32, H)}_{r(10, H)}", "langfuse": lambda: "sk-lf-" + uuid(), "pinecone": lambda: f"pcsk_{r(5)}_{r(63)}", "elevenlabs": lambda: "sk_" + r(48, H), "voyage": lambda: "pa-" + r(43, A + "-_"), "jina": lambda: "jina_" + r(32, H) + r(28, A + "-_"), "together": lambda: "tgp_v1_" + r(43, A + "-_"), "stability": lambda: "sk-" + r(48), "modal": lambda: "as-" + r(22), "baseten": lambda: r(8) + "." + r(32), "friendli": lambda: "flp_" + r(46),
    "databricks": lambda: "dapi" + r(32, H), "databricks long": lambda: "dapi" + r(32, H) + "-2", "databricks oauth": lambda: "dose" + r(32, H), "snowflake pat": lambda: _jwt(),
    "linear": lambda: "lin_api_" + r(40), "linear oauth": lambda: "lin_oauth_" + r(64, H), "notion": lambda: f"ntn_{r(11, D)}{r(35)}", "notion old": lambda: "secret_" + r(43), "figma": lambda: "figd_" + r(40, A + "-_"), "figma refresh": lambda: "figr_" + r(40, A + "-_"), "figma oauth": lambda: "figu_" + r(40, A + "-_"), "airtable": lambda: f"pat{r(14)}.{r(64, H)}", "airtable old": lambda: "key" + r(14),
    "postman": lambda: f"PMAK-{r(24, H)}-{r(34, H)}", "postman collection": lambda: "PMAT-" + r(26, U), "new relic user": lambda: "NRAK-" + r(27, U), "new relic license": lambda: r(36, H) + "NRAL", "new relic browser": lambda: "NRJS-" + r(19, H), "new relic insert": lambda: "NRII-" + r(32, A + "-"), "datadog app": lambda: "ddapp_" + r(34), "datadog pat": lambda: f"ddpat_{r(22)}_{r(40)}",
    "grafana service": lambda: f"glsa_{r(32)}_{r(8, H)}", "grafana cloud": lambda: "glc_eyJ" + r(80), "grafana legacy": lambda: base64.b64encode(json.dumps({"k": r(32), "n": "ci", "id": 1}, separators=(",", ":")).encode()).decode(), "sentry user": lambda: "sntryu_" + r(64, H), "sentry org": lambda: f"sntrys_eyJ{r(100)}_{r(43, A + '+/')}", "posthog": lambda: "phx_" + r(43), "honeycomb": lambda: "hcaik_" + r(58, L), "dynatrace": lambda: f"dt0c01.{r(24, U)}.{r(64, U)}", "dynatrace oauth": lambda: f"dt0s02.{r(8, U)}.{r(64, U)}", "logfire": lambda: "pylf_v1_us_" + r(43),
    "shopify": lambda: "shpat_" + r(32, H), "shopify custom": lambda: "shpca_" + r(32, H), "shopify private": lambda: "shppa_" + r(32, H), "shopify secret": lambda: "shpss_" + r(32, H), "shopify refresh": lambda: "shprt_" + r(32, H), "square": lambda: "sq0atp-" + r(22, A + "-_"), "square secret": lambda: "sq0csp-" + r(43, A + "-_"), "square new": lambda: "EAAA" + r(60, A + "-_"), "paypal braintree": lambda: f"access_token$production${r(16, L)}${r(32, H)}", "adyen": lambda: "AQE" + r(60) + "-" + r(40, A + "+/") + "=-" + r(16), "razorpay": lambda: "rzp_live_" + r(14), "flutterwave": lambda: f"FLWSECK-{r(32, H)}-X", "flutterwave test": lambda: f"FLWSECK_TEST-{r(32, H)}-X", "paystack": lambda: "sk_live_" + r(40, H), "gocardless": lambda: "live_" + r(40, A + "-_"), "plaid": lambda: "access-production-" + uuid(), "plaid sandbox": lambda: "access-sandbox-" + uuid(), "mollie": lambda: "live_" + r(30), "checkout": lambda: "sk_" + uuid(), "coinbase": lambda: "organizations/" + uuid() + "/apiKeys/" + uuid(), "duffel": lambda: "duffel_live_" + r(43, A + "-_"), "easypost": lambda: "EZAK" + r(54), "easypost test": lambda: "EZTK" + r(54), "shippo": lambda: "shippo_live_" + r(40, H), "lob": lambda: "live_" + r(35, H), "finicity none": lambda: "FLWPUBK-" + r(32, H) + "-X" + " FLWSECK-" + r(32, H) + "-X",
    "azure storage": lambda: b64(64), "azure connection": lambda: f"AccountKey={b64(64)}", "azure entra": lambda: r(3) + "8Q~" + r(34, A + "_-"), "azure devops": lambda: r(76) + "AZDO" + r(4), "azure apim": lambda: r(76, A) + "ACRC" + r(4), "azure acr": lambda: r(42, A + "+/") + "+ACR" + r(6), "azure cosmos": lambda: r(76) + "ACDb" + r(4) + "==", "azure search": lambda: r(42) + "AzSe" + r(6), "azure event hub": lambda: r(33) + "+AEh" + r(6) + "=", "azure service bus": lambda: r(33) + "+ASb" + r(6) + "=", "azure iot": lambda: r(33) + "AIoT" + r(6) + "=", "azure function": lambda: r(44) + "AzFu" + r(6) + "==", "azure storage new": lambda: r(76) + "+ASt" + r(6) + "==",
    "aws id": lambda: "AKIA" + r(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), "aws bedrock": lambda: "ABSKQmVkcm9ja0FQSUtleS" + r(100, A) + "==", "aws bedrock short": lambda: "bedrock-api-key-" + "YmVkcm9jay5hbWF6b25hd3MuY29t" + r(100), "aws session": lambda: "IQoJb3JpZ2luX2VjE" + r(300, A + "+/"), "aws mws": lambda: "amzn.mws." + uuid(), "amazon oauth": lambda: "amzn1.oa2-cs.v1." + r(64, H), "amazon refresh": lambda: "Atzr|" + r(200),
    "gcp api": lambda: "AIza" + r(35, A + "-_"), "gcp oauth": lambda: "GOCSPX-" + r(28, A + "-_"), "gcp access": lambda: "ya29." + r(120, A + "-_"), "gcp refresh": lambda: "1//0" + r(2) + r(60, A + "-_"), "gcp hmac": lambda: "GOOG1E" + r(55, U), "google ai": lambda: "AQ.Ab" + r(48, A + "-_"), "fcm": lambda: f"AAAA{r(7, A + '-_')}:APA91b{r(134, A + '-_')}",
    "alibaba": lambda: "LTAI5t" + r(18), "tencent": lambda: "AKID" + r(32), "yandex": lambda: "AQVN" + r(35, A + "-_"), "yandex iam": lambda: f"t1.{r(8)}.{r(86, A + '-_')}", "yandex oauth": lambda: "y0_AgAAAA" + r(49, A + "-_"), "cloudflare ca": lambda: f"v1.0-{r(24, H)}-{r(146, H)}", "cloudflare new": lambda: "cfut_" + r(48), "heroku": lambda: "HRKU-AA" + r(58, A + "-_"), "netlify": lambda: "nfp_" + r(36), "vercel": lambda: "vcp_" + r(56), "vercel blob": lambda: "vercel_blob_rw_" + r(16) + "_" + r(30), "supabase": lambda: "sbp_" + r(40, H), "supabase secret": lambda: f"sb_secret_{r(22, A + '-_')}_{r(8, A)}", "planetscale": lambda: "pscale_tkn_" + r(43, A + "-_"), "planetscale password": lambda: "pscale_pw_" + r(43, A + "-_"), "doppler": lambda: "dp.pt." + r(43), "doppler service": lambda: "dp.st.prd." + r(43), "doppler cli": lambda: "dp.ct." + r(43), "pulumi": lambda: "pul-" + r(40, H), "terraform cloud": lambda: f"{r(14)}.atlasv1.{r(67)}", "telegram": lambda: f"{r(10, D)}:AA{r(33, A + '-_')}", "discord": lambda: f"MT{r(24)}.G{r(5)}.{r(38, A + '-_')}", "discord hook": lambda: f"https://discord.com/api/webhooks/{r(19, D)}/{r(68, A + '-_')}",
    "asana": lambda: f"2/{r(16, D)}/{r(16, D)}:{r(32, H)}", "asana old": lambda: f"1/{r(16, D)}:{r(32, H)}", "dropbox": lambda: "sl.u." + r(140, A + "-_"), "dropbox short": lambda: "sl." + r(136, A + "-_"), "typeform": lambda: f"tfp_{r(40, A)}_{r(14)}", "adafruit": lambda: "aio_" + r(28), "clickup": lambda: f"pk_{r(8, D)}_{r(32, U)}", "intercom": lambda: base64.b64encode(f"tok:{r(8, H)}_{r(4, H)}_{r(4, H)}_{r(4, H)}_{r(12, H)}:1:0".encode()).decode(), "okta ssws": lambda: "SSWS 00" + r(40, A + "-_"), "atlassian": lambda: f"ATATT3xFfGF0{r(172, A + '-_')}={r(8, U)}", "bitbucket": lambda: "ATBB" + r(32), "bitbucket server": lambda: "BBDC-" + r(44, A + "+/"), "atlassian admin": lambda: f"ATCTT3xFfGN0{r(172, A + '-_')}={r(8, U)}", "hubspot": lambda: "pat-na1-" + uuid(), "zapier hook": lambda: f"https://hooks.zapier.com/hooks/catch/{r(7, D)}/{r(7, L)}/", "teams hook": lambda: f"https://contoso.webhook.office.com/webhookb2/{uuid()}\x40{uuid()}/IncomingWebhook/{r(32, H)}/{uuid()}", "salesforce": lambda: f"00D{r(12)}!AQ{r(94, A + '._')}", "salesforce refresh": lambda: "5Aep861" + r(75, A + "._"), "zendesk none": lambda: f"sdk-{uuid()}", "launchdarkly": lambda: "api-" + uuid(), "launchdarkly sdk": lambda: "sdk-" + uuid(), "contentful": lambda: "CFPAT-" + r(43, A + "-_"), "contentful delivery": lambda: "ContentfulCFPAT-" + r(43, A), "storyblok none": lambda: "sb_publishable_x " + "sb_secret_" + r(31, A + "-_"), "prefect": lambda: "pnu_" + r(36), "prefect service": lambda: "pnb_" + r(36), "readme": lambda: "rdme_" + r(70, L), "scalingo": lambda: "tk-us-" + r(48, A + "-_"), "sourcegraph": lambda: f"sgp_{r(16, H)}_{r(40, H)}", "sumologic": lambda: "su" + r(12) + " " + r(64), "snyk": lambda: f"snyk_uat.{r(8)}.{r(60, A)}", "sonarqube": lambda: "squ_" + r(40, H), "sonar project": lambda: "sqp_" + r(40, H), "semgrep": lambda: r(64, H), "buildkite": lambda: "bkua_" + r(40, H), "buildkite agent": lambda: "bkat_" + r(40, H), "circleci": lambda: f"CCIPAT_{r(22)}_{r(40, H)}", "circleci project": lambda: f"CCIPRJ_{r(22)}_{r(40, H)}", "travis none": lambda: "drn_" + r(40), "fly": lambda: "fo1_" + r(43, A + "-_"), "fly macaroon": lambda: "fm2_" + b64(120), "render": lambda: "rnd_" + r(32), "railway none": lambda: "rlwy_" + r(40), "neon": lambda: "napi_" + r(64, L), "upstash none": lambda: "AX" + r(50, A), "turso none": lambda: _jwt(), "xata": lambda: "xau_" + r(38), "tinybird": lambda: f"p.eyJ1{r(60, A)}.{r(43, A + '-_')}", "convex none": lambda: "prod:cool-cat-123|" + r(100), "1password": lambda: "ops_eyJ" + r(300, A), "1password key": lambda: f"A3-{r(6, U)}-{r(6, U)}-{r(5, U)}-{r(5, U)}-{r(5, U)}-{r(5, U)}", "vault": lambda: "hvs." + r(90, A + "-_"), "vault batch": lambda: "hvb." + r(150, A + "-_"), "infisical": lambda: f"st.{r(24, H)}.{r(32, H)}.{r(32, H)}", "akeyless": lambda: "p-" + r(12) + " " + b64(32), "tailscale": lambda: f"tskey-auth-{r(12)}CNTRL-{r(32)}", "ngrok": lambda: f"ngrok_{r(27)}_{r(21)}", "artifactory": lambda: "AKCp8" + r(68), "artifactory ref": lambda: "cmVmdGtuOj" + r(54), "age": lambda: "AGE-SECRET-KEY-1" + r(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"), "mapbox": lambda: f"sk.eyJ1Ijoi{r(80)}.{r(22, A + '-_')}", "maxmind": lambda: r(6) + "_" + r(29) + "_mmk", "mattermost none": lambda: "https://mm.example.org/hooks/" + r(26, L), "facebook": lambda: "EAA" + r(150), "facebook app": lambda: f"{r(15, D)}|{r(27, A + '-_')}", "instagram": lambda: "IGQV" + r(150, A + "-_"), "twitter bearer": lambda: "A" * 22 + r(80, A + "%"), "twitch none": lambda: "oauth:" + r(30, L), "linkedin": lambda: "WPL_AP1." + r(16) + "." + r(6) + "==", "line none": lambda: r(43, A) + r(125, A + "+/") + "=", "kakao none": lambda: "KakaoAK " + r(32, H), "wechat none": lambda: "wxp_" + r(32), "lark none": lambda: "t-" + r(40, A), "lark hook": lambda: f"https://open.feishu.cn/open-apis/bot/v2/hook/{uuid()}", "dingtalk hook": lambda: f"https://oapi.dingtalk.com/robot/send?access_token={r(64, H)}", "wecom hook": lambda: f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={uuid()}", "google chat hook": lambda: f"https://chat.googleapis.com/v1/spaces/{r(11)}/messages?key=AIza{r(35)}&token={r(43, A + '-_')}", "make hook": lambda: f"https://hook.eu1.make.com/{r(32, L)}", "pipedream none": lambda: f"pd_{r(40, H)}", "n8n none": lambda: f"n8n_api_{r(80, H)}", "ubidots": lambda: "BBFF-" + r(30), "particle none": lambda: "e2b_" + r(40, H), "octopus": lambda: "API-" + r(26, U), "rootly": lambda: "rootly_" + r(64, H), "pagerduty": lambda: "u+" + r(18, A + "-_"), "frame.io": lambda: "fio-u-" + r(64, A + "-_="), "defined": lambda: f"dnkey-{r(26, L + '-_=')}-{r(52, L + '-_=')}", "flyio none": lambda: "FlyV1 fm2_" + b64(100), "beamer": lambda: "b_" + r(44, A), "bitrise none": lambda: "brs_" + r(40), "harness": lambda: f"pat.{r(22, A)}.{r(24, H)}.{r(20)}", "harness sat": lambda: f"sat.{r(22, A)}.{r(24, H)}.{r(20)}", "jira scoped none": lambda: "ATSTT3xFfGF0" + r(180, A + "-_"), "lichess": lambda: "lip_" + r(20), "yandex aws": lambda: "YC" + r(38, A + "-_"), "openshift": lambda: "sha256~" + r(43, A + "-_"), "endor": lambda: "endr+" + r(16), "tencent sms none": lambda: "AKIDz8k" + r(29), "cursor": lambda: "key_" + r(64, H), "retell none": lambda: "key_" + r(28, H), "vapi none": lambda: "whsec_" + r(32, A + "+/"), "resend": lambda: f"re_{r(8)}_{r(24)}", "loops none": lambda: "svix_" + r(32), "svix": lambda: f"testsk_{r(32)}.us", "clerk": lambda: "sk_live_" + r(42), "workos": lambda: "sk_live_" + r(60), "stytch": lambda: "secret-live-" + r(36, A + "-_="), "auth0 none": lambda: r(64, A + "-_"), "unkey": lambda: "unkey_" + r(24), "trigger.dev": lambda: "tr_prod_" + r(24), "inngest": lambda: "signkey-prod-" + r(64, H), "liveblocks": lambda: "sk_prod_" + r(64, A + "-_"), "ably": lambda: f"{r(6)}.{r(6)}:{r(43, A + '-_')}", "deno": lambda: "ddp_" + r(36), "gitea none": lambda: r(40, H), "codecov none": lambda: uuid(), "scaleway": lambda: "SCW" + r(17, U) + " " + uuid(), "hetzner none": lambda: r(64), "vultr none": lambda: r(36, U), "linode none": lambda: r(64, H), "ovh none": lambda: r(32),
}  # fmt: skip
# What looks like anything else (a digest, a UUID), or is two things.
NO_SHAPE: Final = frozenset(("semgrep", "baseten", "auth0 none", "azure storage", "airtable old", "modal", "beamer"))  # fmt: skip
FRAMES: Final = (
    "The value is @ and that is all.\n", '{"id": 7, "v": "@", "ok": true}\n',
    "2026-11-27T10:00:01Z INFO worker-7 got=@ in 12ms\n",
)  # fmt: skip

BENIGN: Final = (
    ("words of code", "secret_key_base re_exports_and_names_of_modules key_length live_reload test_token_is_refreshed_when_expired sk_test_mode pk_column fw_version as-is api-version pat-down aio_read aio_write_callback hcaik\n"),
    ("digests", "\n".join(f"{n:064x}  file{n}" for n in (2**255 + 12345, 2**254 + 777777, 2**253 + 31337)) + "\n"),
    ("commits", "\n".join(f"commit {n:040x}" for n in (2**159 + 1234567, 2**158 + 7654321)) + "\n"),
    ("SRI", '"integrity": "sha512-ab12CD34ef56GH78ij90KL12mn34OP56qr78ST90uv12WX34yz56AB78cd90EF12gh34IJ56kl78MN90op12QR34st56UV=="\n'),
    ("UUIDs", "6f1c7d2e-3b4a-4c5d-8e9f-0a1b2c3d4e5f sdk api-6f1c7d2e\n"),
    ("packages", "pkg:npm/%40scope/name@1.2.3 sha256~ SG.1.2 hf_hub_download gsk_value sl.test.unit dp.pt tfp_ npm_config_cache npm_package_version_of_the_dependency_tree_x npm_lifecycle_event\n"),
    ("objects of Kubernetes", "pod/web-7d4b9c6f5-x2k9p image docker.io/library/nginx@sha256:" + "0a1b2c3d" * 8 + "\n"),
    ("identifiers of AWS", "arn:aws:iam::123456789012:role/Admin AROAEXAMPLEID12345678 vpc-0a1b2c3d4e5f67890 i-0123456789abcdef0 AIDACKCEVSQ6C2EXAMPLE AKIAIOSFODNN7EXAMPLE\n"),
    ("published keys", "pk_live_" + "51H8sK2eZvKYlo2C9q7Xw4Tn" + " pk.eyJ1IjoiYm9iIiwiYSI6ImNrIn0 pub-c-6f1c7d2e-3b4a-4c5d-8e9f-0a1b2c3d4e5f\n"),
    ("placeholders", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx sk-ant-your-key-here xoxb-your-token-here sk_test_... glpat-XXXXXXXXXXXXXXXXXXXX hf_your_token AKIAXXXXXXXXXXXXXXXX\n"),
    ("base64 of an image", "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==\n"),
)  # fmt: skip


def samples() -> Iterator[Sample]:
    for name, make in ALONE.items():
        if name in NO_SHAPE or name.endswith(" none"):
            continue
        for number, frame in enumerate(FRAMES):
            token = make()
            text = frame.replace("@", token, 1).encode()
            needle = max(token.split(), key=len)
            yield Sample("tokens alone", f"{name} {number}", "secret", text, needle)
    for name, text in BENIGN:
        yield Sample("what tokens look like", name, None, text.encode())
