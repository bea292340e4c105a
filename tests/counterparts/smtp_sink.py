"""A mail server that keeps what it is sent: aiosmtpd with STARTTLS or TLS and AUTH.

    python smtp_sink.py DIR starttls|tls|plain
    python smtp_sink.py DIR xoauth2 URL

Prints `ready PORT` once it listens on a free port of 127.0.0.1, and ends when its standard input is closed.
Each mail becomes DIR/NNNN.eml: the envelope as `X-Envelope-` lines, then the message as it came.
`DIR/cert.pem` is the self-signed certificate for localhost, made as `openssl req -x509` does it. The login is lead / secret, except in mode `plain`. `xoauth2` is `starttls` with no way to log in but a
token: lead@contoso.example with one for which URL, asked with it in the header, answers 200.
The local part of a recipient injects a fault: reject-perm, reject-temp, slow; busy-once answers its
first message 451 when all of it has come, and keeps it as DIR/NNNN.refused.
"""

import asyncio
import base64
import os
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

SLOW_SECS = 60


def certificate(folder):
    """Makes a self-signed certificate once; returns its file and its key's file."""
    certificate, key = f"{folder}/cert.pem", f"{folder}/key.pem"
    if not os.path.exists(certificate):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True, capture_output=True)
    return certificate, key


class Keeper:
    """Writes each mail to a file, or refuses its recipient."""

    def __init__(self, folder):
        self.folder, self.count, self.was_busy = folder, 0, False

    async def handle_RCPT(self, server, session, envelope, address, options):
        match address.split("@")[0]:
            case "reject-perm":
                return f"550 5.1.1 <{address}>: no such user"
            case "reject-temp":
                return "451 4.3.0 try again later"
            case "slow":
                await asyncio.sleep(SLOW_SECS)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        refused = not self.was_busy and any(address.startswith("busy-once@") for address in envelope.rcpt_tos)
        self.was_busy |= refused
        path = f"{self.folder}/{self.count:04}.{'refused' if refused else 'eml'}"
        login = session.auth_data.login.decode() if session.auth_data else ""
        lines = {"From": envelope.mail_from, "To": ",".join(envelope.rcpt_tos), "Tls": session.ssl is not None, "Auth": login}
        with open(f"{path}.tmp", "wb") as file:
            file.write("".join(f"X-Envelope-{name}: {value}\r\n" for name, value in lines.items()).encode())
            file.write(envelope.original_content)
        os.rename(f"{path}.tmp", path)
        return "451 4.3.0 try again later" if refused else f"250 2.0.0 queued as {self.count:04}"


class TokenKeeper(Keeper):
    """Takes SASL XOAUTH2: https://developers.google.com/workspace/gmail/imap/xoauth2-protocol"""

    def __init__(self, folder, url):
        super().__init__(folder)
        self.url = url

    def is_valid(self, token):
        request = urllib.request.Request(self.url, headers={"authorization": token})
        try:
            return urllib.request.urlopen(request).status == 200
        except urllib.error.HTTPError:
            return False

    async def auth_XOAUTH2(self, server, args):
        parts = base64.b64decode(args[1], validate=True).decode().split("\x01")
        known = len(parts) == 4 and parts[0] == "user=lead@contoso.example" and parts[2:] == ["", ""]
        token = parts[1].removeprefix("auth=") if known else ""
        if token.startswith("Bearer ") and await asyncio.to_thread(self.is_valid, token):
            return AuthResult(success=True, auth_data=LoginPassword(b"lead@contoso.example", b""))
        # Why it is refused; the client answers with nothing, and is refused.
        assert await server.challenge_auth('{"status":"400","schemes":"Bearer"}') == b""
        return AuthResult(success=False, handled=False)


def authenticate(server, session, envelope, mechanism, data):
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"lead", b"secret")
    return AuthResult(success=known, handled=False, auth_data=data if known else None)


async def main(folder, mode, url=None):
    os.makedirs(folder, exist_ok=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(folder))
    options = {"hostname": "localhost", "enable_SMTPUTF8": True, "data_size_limit": 10_000_000}
    if mode in ("starttls", "xoauth2"):
        options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
    elif mode == "tls":
        # TLS is round the whole connection, so the protocol itself need not ask for it.
        options |= {"auth_require_tls": False, "auth_required": True}
    if mode == "xoauth2":
        options["auth_exclude_mechanism"] = ["LOGIN", "PLAIN"]
    elif mode != "plain":
        options["authenticator"] = authenticate
    keeper = TokenKeeper(folder, url) if url else Keeper(folder)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(keeper, **options), "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def end_with_the_caller():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_the_caller, daemon=True).start()
asyncio.run(main(*sys.argv[1:]))
