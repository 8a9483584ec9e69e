"""Makes an ECDSA key over P-384, of which tuf-repo keygen makes none. Usage: p384.py PATH; PATH.pub is written too."""

import os
import sys

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

path = sys.argv[1]
key = ec.generate_private_key(ec.SECP384R1())
with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
    file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
with open(path + ".pub", "wb") as file:
    file.write(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
