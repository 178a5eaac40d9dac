"""What people and programs call a secret, in the languages that output comes in.

Pattern engines fold the case of ASCII only, over bytes, so each word of another alphabet is
written here in every case it has, and with its accents apart (NFD), too.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final


def spellings(word: str) -> set[str]:
    """In small letters, in capitals and with a capital first, composed and decomposed."""
    cases = {word, word.lower(), word.upper(), word[:1].upper() + word[1:], word.title()}
    # Turkish has two letters i.
    cases |= {w.replace("I", "İ") for w in cases if "ş" in word.lower()}
    return {unicodedata.normalize(form, w) for w in cases for form in ("NFC", "NFD")}


def alternatives(words: tuple[str, ...]) -> str:
    """A pattern for any of them in any spelling, the longest first."""
    found = {spelling for word in words for spelling in spellings(word)}
    return "|".join(re.escape(word) for word in sorted(found, key=lambda w: (-len(w), w)))


FOREIGN: Final = (
    "비밀번호", "비번", "암호", "패스워드", "密码", "密碼", "口令", "パスワード", "暗証番号", "暗號",
    "contraseña", "contrasenya", "пароль", "парола", "лозинка", "hasło", "şifre", "parolă", "mật khẩu",
    "lösenord", "slaptažodis", "jelszó", "clé secrète", "كلمة المرور", "كلمة السر", "الرقم السري",
    "رمز عبور", "گذرواژه", "סיסמה", "סיסמא", "סיסמת", "पासवर्ड", "कूटशब्द", "পাসওয়ার্ড", "รหัสผ่าน",
    "κωδικός πρόσβασης", "κωδικός", "συνθηματικό", "գաղտնաբառ", "პაროლი",
)  # fmt: skip
# The short ones are words of their own: `HasLongJmp` begins with one.
LATIN: Final = (
    r"passwort|kennwort|codewort|mot[ _-]de[ _-]passe|motdepasse|palavra[ _-]passe|contrasena|wachtwoord"
    r"|adgangskode|salasana|lozinka|(?:\b|_)(?:senha|haslo|heslo|kodeord|passord|jelszo|parola|sifre|mat[ _-]khau"
    r"|kata[ _-]sandi|zaporka|geslo|parool|losenord|loesenord|slaptazodis)(?:\b|_)"
)
OTHER: Final = alternatives(FOREIGN)

_WORD: Final = (
    r"(?:passw(?:or)?d|passwd|passphrase|passcode|pwd|secret|token|api[-_]?key|apikey|[_-]pass\b|\bpass\b|_pw\b"
    r"|access[-_]?key|auth[-_]?key|private[-_]?key|account[-_]?key|client[-_]?secret"
    r"|encryption[-_]?key|signing[-_]?key|secret[-_]?key|master[-_]?key|session[-_]?key"
    r"|shared[-_]?key|license[-_]?key|credentials?|webhook[-_]?key|app[-_]?key"
    r"|(?:db|smtp|user|mail|admin|root|my|ftp|ssh|ldap|sql|bind|login|auth|app|mqtt|redis|http|basic)pass\b"
    rf"|\b(?:pw|mdp|clave)\b|{LATIN})"
)
# `smtpPass`, `DBPASS`: by their case, `bypass` is none.
NAME: Final = (
    rf"(?:(?i:[A-Za-z0-9_.\-]{{0,64}}{_WORD}[A-Za-z0-9_\-]{{0,40}})"
    r"|[A-Za-z0-9_.\-]{0,64}(?:[a-z0-9]Pass|[A-Z0-9]PASS)\b)"
)
KEY: Final = rf"(?P<n>{NAME})"
WORD: Final = rf"(?i:{_WORD})"
