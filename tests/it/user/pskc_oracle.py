"""Writes a PSKC file by python-pskc: pskc_oracle.py plain|pbkdf2|key FILE."""

import sys

from pskc import PSKC

way, path = sys.argv[1:]
file = PSKC()
kind = "urn:ietf:params:xml:ns:keyprov:pskc:"
file.add_key(
    id="PY1", serial="PY1", algorithm=kind + "totp", secret=b"12345678901234567890",
    response_encoding="DECIMAL", response_length=6, time_interval=60, time_offset=0,
)
file.add_key(
    id="PY2", serial="PY2", algorithm=kind + "hotp", secret=b"09876543210987654321",
    response_encoding="DECIMAL", response_length=8, counter=7,
)
if way == "pbkdf2":
    file.encryption.setup_pbkdf2("a long passphrase", iterations=2000)
elif way == "key":
    file.encryption.setup_preshared_key(key=bytes(range(16)), algorithm="aes128-cbc", key_name="K")
file.write(path)
