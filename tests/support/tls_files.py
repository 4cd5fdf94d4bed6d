"""A throw-away certificate authority and a certificate of it for 127.0.0.1, made by the openssl command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class TlsFiles(NamedTuple):
    """PEM files."""

    authority: Path
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """For a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_tls_files(folder: Path, name: str = "IP:127.0.0.1") -> TlsFiles:
    """Write them; skips the test where there is no openssl command."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command")
    files = TlsFiles(folder / "authority.pem", folder / "certificate.pem", folder / "key.pem")
    fresh_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    _openssl(
        "req", "-x509", *fresh_key, "-subj", "/CN=test authority", "-keyout", str(folder / "authority.key"), "-out", str(files.authority)
    )
    signing = ["-CA", str(files.authority), "-CAkey", str(folder / "authority.key"), "-addext", f"subjectAltName={name}"]
    extensions = ["-addext", "basicConstraints=critical,CA:FALSE"]
    _openssl(
        "req", "-x509", *fresh_key, *signing, *extensions, "-subj", "/CN=test", "-keyout", str(files.key), "-out", str(files.certificate)
    )
    return files


def expire(files: TlsFiles) -> None:
    """Replace the certificate by one for 127.0.0.1, of the same authority and key, that expired yesterday."""
    folder = files.certificate.parent
    request, extensions = folder / "request.pem", folder / "extensions.txt"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n")
    _openssl("req", "-new", "-key", str(files.key), "-subj", "/CN=test", "-out", str(request))
    signing = ["-CA", str(files.authority), "-CAkey", str(folder / "authority.key"), "-extfile", str(extensions)]
    _openssl("x509", "-req", "-in", str(request), "-days", "-1", *signing, "-out", str(files.certificate))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
