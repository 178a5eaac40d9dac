"""Keys and what is made with them: `derive`, `sealing`, `signing`, `dsse`, `master`, `ring`.

Every algorithm comes from `cryptography`; nothing here invents one. Must never print, log or
put into an error a secret, and never use a key beyond its time.
"""
