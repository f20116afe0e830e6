"""Labeling over https: a self-signed certificate is refused, and trusted once its CA is named."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from counting_server import counting_server
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LABEL = """
import sys, labeling_children as c
from pathlib import Path
c.label_through_server(sys.argv[1], sys.argv[2], c.made_up_states(10))
print(len(list(Path(sys.argv[1]).rglob("part-*.parquet"))), "part")
"""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1, and its key, in one PEM file each."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server of one's own")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (tmp_path / "key.pem").write_bytes(secret)
    (tmp_path / "certificate.pem").write_bytes(made.public_bytes(pem))
    return tmp_path / "certificate.pem"


def label(folder: Path, url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    support = str(Path(__file__).parents[1] / "support")
    path = os.pathsep.join(filter(None, [support, os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-c", LABEL, str(folder), url],
        env=kept | {"PYTHONPATH": path} | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_certificate_of_ones_own(certificate: Path, tmp_path: Path) -> None:
    assert ssl.create_default_context(cafile=str(certificate))
    key = certificate.with_name("key.pem")
    with counting_server(tmp_path / "asked.log", tls=(certificate, key)) as url:
        assert url.startswith("https://")
        refused = label(tmp_path / "refused", url)
        assert refused.returncode == 1
        last = refused.stderr.strip().splitlines()[-1]
        assert "TeacherError: the certificate of" in last and "is not trusted (self" in last
        assert "SSL_CERT_FILE" in last
        assert not list((tmp_path / "refused").rglob("*.parquet"))
        assert not (tmp_path / "asked.log").read_text(), "no question, and no key, was sent"
        trusted = label(tmp_path / "trusted", url, SSL_CERT_FILE=str(certificate))
        assert trusted.stdout == "1 part\n", trusted.stderr
    assert len((tmp_path / "asked.log").read_text().splitlines()) == 10
