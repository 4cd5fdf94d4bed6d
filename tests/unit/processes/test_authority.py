"""The simulators' certificate authority: made once, kept, renewed, and trusted for loopback only."""

import datetime
import socket
import ssl
import threading

import pytest

from processes import authority
from processes.authority import Authority
from processes.errors import EngineError


def handshake(server: Authority, ca_file, host="127.0.0.1"):
    """Return the protocol that a client which trusts `ca_file` agrees on with a server."""
    ours, theirs = socket.socketpair()

    def serve():
        try:
            with server.server_context().wrap_socket(theirs, server_side=True) as connection:
                connection.recv(1)
        except (ssl.SSLError, OSError):
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ssl.create_default_context(cafile=ca_file).wrap_socket(ours, server_hostname=host) as connection:
            return connection.version()
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_client_that_trusts_the_authority_connects(tmp_path, host):
    made = Authority(tmp_path / "ca")
    assert handshake(made, made.ca_file, host) == "TLSv1.3"


def test_the_authority_is_kept_and_its_keys_are_private(tmp_path):
    first = Authority(tmp_path).ca_file.read_bytes()
    second = Authority(tmp_path)
    assert second.ca_file.read_bytes() == first
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.glob("*.key"))


@pytest.mark.parametrize("host", ["example.org", "127.0.0.2"])
def test_another_host_name_or_another_authority_is_not_trusted(tmp_path, host):
    made, other = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, made.ca_file, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, other.ca_file)


def test_a_certificate_about_to_expire_is_made_anew_under_the_same_authority(tmp_path, monkeypatch):
    made = Authority(tmp_path)
    authority_before, server_before = made.ca_file.read_bytes(), (tmp_path / "server.pem").read_bytes()
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=authority.SERVER_DAYS - 3)
    monkeypatch.setattr(authority, "_now", lambda: later)
    Authority(tmp_path)
    assert made.ca_file.read_bytes() == authority_before and (tmp_path / "server.pem").read_bytes() != server_before


def test_a_folder_that_cannot_be_used_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="certificate authority in .*file"):
        Authority(tmp_path / "file")
    (tmp_path / "ca.key").write_text("x")
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(EngineError):
        Authority(tmp_path)
