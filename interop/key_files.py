"""Key files of securesystemslib for tuf-repo, and key files of tuf-repo for securesystemslib.

Usage: key_files.py make FOLDER     writes keys as the present securesystemslib does, and their ids into FOLDER/ids
       key_files.py old FOLDER      writes keys as securesystemslib did before 1.0, which must be on PYTHONPATH
       key_files.py check KEY PASSWORD ID
                                    opens a key of tuf-repo, signs with it, and compares the key's id
All files are encrypted by the password in FOLDER/password where their format knows encryption.
"""

import os
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
}


def password(folder: str) -> str:
    with open(os.path.join(folder, "password"), encoding="utf-8") as file:
        return file.read().rstrip("\n")


def write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def make(folder: str) -> None:
    from securesystemslib.signer import CryptoSigner, SSlibKey

    secret = serialization.BestAvailableEncryption(password(folder).encode())
    ids = []
    for kind in KEYS:
        signer = getattr(CryptoSigner, f"generate_{kind}")()
        write(folder, f"plain-{kind}", signer.private_bytes.decode())
        private = serialization.load_pem_private_key(signer.private_bytes, None)
        pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
        write(folder, f"encrypted-{kind}", pem.decode())
        keyid = SSlibKey.from_crypto(private.public_key()).keyid
        assert keyid == signer.public_key.keyid
        ids += [f"plain-{kind} {keyid}", f"encrypted-{kind} {keyid}"]
    write(folder, "ids", "\n".join(ids) + "\n")


def old(folder: str) -> None:
    from securesystemslib import __version__, keys

    assert __version__.startswith("0."), __version__
    ids = []
    for kind, generate in KEYS.items():
        private = generate()
        spki = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if kind == "ed25519":
            keyval = {
                "public": private.public_key().public_bytes_raw().hex(),
                "private": private.private_bytes_raw().hex(),
            }
            keytype = scheme = kind
        else:
            pem = private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
            keyval = {"public": spki.decode().strip(), "private": pem.decode()}
            keytype, scheme = {
                "rsa": ("rsa", "rsassa-pss-sha256"),
                "ecdsa": ("ecdsa", "ecdsa-sha2-nistp256"),
            }[kind]
        key = keys.format_metadata_to_key(keys.format_keyval_to_metadata(keytype, scheme, keyval))[0]
        key["keyval"] = keyval
        if kind == "rsa":
            # the file that the old tools wrote for RSA: OpenSSL's traditional form, encrypted
            write(folder, "old-rsa", keys.create_rsa_encrypted_pem(keyval["private"], password(folder)))
        else:
            write(folder, f"old-{kind}", keys.encrypt_key(key, password(folder)))
            assert keys.decrypt_key(keys.encrypt_key(key, password(folder)), password(folder))
        ids.append(f"old-{kind} {key['keyid']}")
        write(folder, f"old-{kind}.spki", spki.decode())
    write(folder, "old-ids", "\n".join(ids) + "\n")


def check(path: str, secret: str, keyid: str) -> None:
    from securesystemslib.signer import CryptoSigner, SSlibKey

    with open(path + ".pub", "rb") as file:
        public = SSlibKey.from_crypto(serialization.load_pem_public_key(file.read()))
    assert public.keyid == keyid, f"{path}: {public.keyid} is not {keyid}"
    with open(path, "rb") as file:
        private = serialization.load_pem_private_key(file.read(), secret.encode() if secret else None)
    signature = CryptoSigner(private, public).sign(b"interoperability")
    public.verify_signature(signature, b"interoperability")


{"make": make, "old": old, "check": check}[sys.argv[1]](*sys.argv[2:])
