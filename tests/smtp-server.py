"""A mail server for tests: aiosmtpd on loopback, every mail in a file of its own.

Usage: smtp-server.py DIR [CERTIFICATE KEY [tls]]

With a certificate it offers STARTTLS, and wants user `otp` with password `s3cr3t-mail` to log in
after it; with `tls` TLS begins at once instead. Prints its port, ends with standard input.
"""

import asyncio
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import AuthResult


class Keep:
    """Writes envelope and content of every mail to DIR/N.eml."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return f"550 5.1.1 <{address}> is unknown here"
        if address.startswith("closing@"):
            return "421 4.3.2 closing"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        head = f"{envelope.mail_from} {' '.join(envelope.rcpt_tos)}\n"
        mail = self.directory / f"{self.count}.eml"
        mail.write_bytes(head.encode() + envelope.content)
        return f"250 2.0.0 queued as {self.count}"


def authenticate(server, session, envelope, mechanism, data):
    right = data.login == b"otp" and data.password == b"s3cr3t-mail"
    return AuthResult(success=right, handled=right)


async def main(directory, certificate=None, key=None, mode=None):
    options, at_once = {}, None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if mode == "tls":
            at_once = context
        else:
            options = {
                "tls_context": context,
                "require_starttls": True,
                "authenticator": authenticate,
                "auth_required": True,
            }
    keep = Keep(directory)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(keep, hostname="mail.example", **options), "127.0.0.1", 0, ssl=at_once
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main(*sys.argv[1:]))
