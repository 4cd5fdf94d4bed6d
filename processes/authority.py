"""Authority: a certificate authority of this engine's own, for simulators that speak TLS on loopback.

Its folder keeps `ca.pem`, which clients trust, `ca.key`, and a server's certificate and key; they are made when they are missing or
about to expire. A client that trusts `ca.pem` trusts whoever can read `ca.key`: keep it away from anything that trades for real.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from processes.errors import EngineError

CA_DAYS, SERVER_DAYS = 3650, 365
#: A certificate with less than this left is made anew.
RENEW_DAYS = 7


class Authority:
    """The authority kept in a folder."""

    def __init__(self, folder: Path) -> None:
        """Make or load it. Raises EngineError when the folder cannot be used."""
        self.ca_file = folder / "ca.pem"
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Simulators of several venues may start together.
            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not self._good(self.ca_file, folder / "ca.key"):
                    self._make_authority()
                    (folder / "server.pem").unlink(missing_ok=True)
                if not self._good(folder / "server.pem", folder / "server.key"):
                    self._make_server()
        except (OSError, ValueError) as error:
            raise EngineError(f"certificate authority in {folder}: {error}") from error

    def server_context(self) -> ssl.SSLContext:
        """Return a context for a server on this machine's loopback."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._folder / "server.pem", self._folder / "server.key")
        return context

    def _good(self, certificate: Path, key: Path) -> bool:
        """Whether a certificate and its key are there and last for a while."""
        if not certificate.is_file() or not key.is_file():
            return False
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        return found.not_valid_after_utc > _now() + datetime.timedelta(days=RENEW_DAYS)

    def _make_authority(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hft simulators' authority")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(name, name, key, CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        self._write("ca", certificate, key)

    def _make_server(self) -> None:
        authority_key = load_pem_private_key((self._folder / "ca.key").read_bytes(), None)
        assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
        authority = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            _builder(name, authority.subject, key, SERVER_DAYS)
            .add_extension(x509.SubjectAlternativeName(places), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        self._write("server", certificate, key)

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Write key, then certificate, each whole or not at all."""
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _replace(self._folder / f"{name}.key", private, 0o600)
        _replace(self._folder / f"{name}.pem", certificate.public_bytes(Encoding.PEM), 0o644)


def _builder(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(days=1))
        .not_valid_after(_now() + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _replace(path: Path, body: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(body)
    fresh.replace(path)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
