"""Making the certificate of a run: in the driver, once, and nowhere else."""

from __future__ import annotations

import datetime
from typing import Optional

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mxspark.protocol.identity import Identity

# Clocks of hosts differ; and no run is as long as a year, so that what was forgotten somewhere is worthless by then.
EARLIER = datetime.timedelta(days=1)
LIFE = datetime.timedelta(days=366)
NAME_LENGTH = 64  # of a common name in X.509

_NO_USE = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ),
    False,
)  # fmt: skip


def issue(run_id: str, since: Optional[datetime.datetime] = None, life: datetime.timedelta = LIFE) -> Identity:
    """Make an authority, let it sign one certificate, and forget its key: nobody can ever make another.

    All processes of a run have the same one. Which of them somebody is they say in their first words, and are believed,
    as each can do whatever another can.

    Parameters
    ----------
    run_id : str
        Name in the certificate, for whoever looks at a capture.
    since : datetime.datetime, optional
        When it begins to be valid, with a time zone; default: a day ago.
    life : datetime.timedelta
        How long it is valid.

    Examples
    --------
    >>> issue("run-1").certificate.splitlines()[0]
    '-----BEGIN CERTIFICATE-----'
    """
    begin = datetime.datetime.now(datetime.timezone.utc) - EARLIER if since is None else since
    # P-256 and not Ed25519, which hosts with a FIPS policy refuse
    signer = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name(f"mxspark {run_id}")
    authority = _begun(issuer, issuer, signer.public_key(), begin, life)
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    authority = authority.add_extension(x509.KeyUsage(**{**_NO_USE, "key_cert_sign": True}), critical=True)
    member = _begun(_name(run_id), issuer, key.public_key(), begin, life)
    member = member.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    member = member.add_extension(x509.KeyUsage(**{**_NO_USE, "digital_signature": True}), critical=True)
    both_ends = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    member = member.add_extension(both_ends, critical=False)
    certifies = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    member = member.add_extension(certifies, critical=False)
    return Identity(
        _pem(authority.sign(signer, hashes.SHA256())),
        _pem(member.sign(signer, hashes.SHA256())),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:NAME_LENGTH])])


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begin: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    """Return what every certificate has."""
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(begin + life)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
