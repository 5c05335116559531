"""Makes what the way in needs: a certificate, an issuer's key set, and tokens of people, in a folder."""

import base64
import datetime
import json
import sys
import time
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = "https://login.acme.example"
HOST = "agents.example.com"


def certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(key.private_bytes(*form))


def tokens(folder: Path) -> None:
    key, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    numbers = key.public_key().public_numbers()

    def text(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    public = {"kty": "EC", "crv": "P-256", "x": text(numbers.x), "y": text(numbers.y), "kid": "k1", "alg": "ES256"}
    (folder / "jwks").write_text(json.dumps({"keys": [public]}))
    good = {"iss": ISSUER, "aud": "agents", "sub": "ann", "exp": int(time.time()) + 600, "groups": ["docs"]}
    for name, claims, signer in [
        ("ann", {}, key),
        ("bob", {"sub": "bob"}, key),
        ("old", {"exp": int(time.time()) - 10}, key),
        ("audience", {"aud": "others"}, key),
        ("issuer", {"iss": "https://elsewhere.example"}, key),
        ("forged", {}, stranger),
    ]:
        token = jwt.encode(good | claims, signer, algorithm="ES256", headers={"kid": "k1"})
        (folder / f"{name}.jwt").write_text(token)


certificate(Path(sys.argv[1]))
tokens(Path(sys.argv[1]))
