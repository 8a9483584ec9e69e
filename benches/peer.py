"""The peer of the benchmarks: python-tuf does the same work over repository/targets, with no safety at all.

No atomic replacement, no fsync, no check of the outcome: what a release script of a few lines would do.
"""

import json
import os
import shutil
import sys
from datetime import datetime, timedelta, timezone

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

TARGETS = "repository/targets"
OUT = "peer"
EXPIRES = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=90)
KEYS = "peer-keys"


def is_copy(name: str) -> bool:
    head = name.split(".", 1)[0]
    return len(head) == 64 and all(c in "0123456789abcdef" for c in head)


def signer(role: str) -> CryptoSigner:
    path = os.path.join(KEYS, role)
    if not os.path.exists(path):
        os.makedirs(KEYS, exist_ok=True)
        with open(path, "wb") as file:
            file.write(CryptoSigner.generate_ed25519().private_bytes)
    with open(path, "rb") as file:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        return CryptoSigner(load_pem_private_key(file.read(), None))


def add(targets: Targets, name: str) -> None:
    source = os.path.join(TARGETS, name)
    info = TargetFile.from_file(name, source, ["sha256"])
    targets.targets[name] = info
    shutil.copy(source, os.path.join(OUT, "targets", f"{info.hashes['sha256']}.{name}"))


def publish(metadata: Metadata, role: str, name: str) -> None:
    metadata.sign(signer(role))
    metadata.to_file(os.path.join(OUT, "metadata", name), JSONSerializer(compact=True))


def create() -> None:
    os.makedirs(os.path.join(OUT, "metadata"))
    os.makedirs(os.path.join(OUT, "targets"))
    root = Root(expires=EXPIRES)
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(signer(role).public_key, role)
    targets = Targets(expires=EXPIRES)
    for name in sorted(os.listdir(TARGETS)):
        if not is_copy(name):
            add(targets, name)
    publish(Metadata(root), "root", "1.root.json")
    publish(Metadata(targets), "targets", "1.targets.json")
    publish(Metadata(Snapshot(expires=EXPIRES)), "snapshot", "1.snapshot.json")
    publish(Metadata(Timestamp(expires=EXPIRES)), "timestamp", "timestamp.json")


def one_more() -> None:
    metadata = Metadata[Targets].from_file(os.path.join(OUT, "metadata", "1.targets.json"))
    with open(os.path.join(TARGETS, "another"), "wb") as file:
        file.write(b"another")
    add(metadata.signed, "another")
    metadata.signed.version = 2
    publish(metadata, "targets", "2.targets.json")
    publish(Metadata(Snapshot(2, expires=EXPIRES, meta={"targets.json": MetaFile(2)})), "snapshot", "2.snapshot.json")
    publish(Metadata(Timestamp(2, expires=EXPIRES, snapshot_meta=MetaFile(2))), "timestamp", "timestamp.json")


def bins(bits: int) -> None:
    """Lists the targets of a manifest in hash bins (TAP 15)."""
    os.makedirs(os.path.join(OUT, "metadata"))
    root = Root(expires=EXPIRES)
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(signer(role).public_key, role)
    key = signer("bins")
    roles = SuccinctRoles([key.public_key.keyid], 1, bits, "bin")
    targets = Targets(expires=EXPIRES, delegations=Delegations({key.public_key.keyid: key.public_key}, None, roles))
    filled = {name: Targets(expires=EXPIRES) for name in roles.get_roles()}
    with open("manifest", "rb") as lines:
        for line in lines:
            entry = json.loads(line)
            path = entry["path"]
            filled[roles.get_role_for_target(path)].targets[path] = TargetFile(entry["length"], entry["hashes"], path)
    meta = {"targets.json": MetaFile(1)}
    for name, signed in filled.items():
        metadata = Metadata(signed)
        metadata.sign(key)
        metadata.to_file(os.path.join(OUT, "metadata", f"1.{name}.json"), JSONSerializer(compact=True))
        meta[f"{name}.json"] = MetaFile(1)
    publish(Metadata(root), "root", "1.root.json")
    publish(Metadata(targets), "targets", "1.targets.json")
    publish(Metadata(Snapshot(expires=EXPIRES, meta=meta)), "snapshot", "1.snapshot.json")
    publish(Metadata(Timestamp(expires=EXPIRES)), "timestamp", "timestamp.json")


def one_more_in_bins() -> None:
    folder = os.path.join(OUT, "metadata")
    targets = Metadata[Targets].from_file(os.path.join(folder, "1.targets.json")).signed
    snapshot = Metadata[Snapshot].from_file(os.path.join(folder, "1.snapshot.json"))
    path = "another"
    name = targets.delegations.succinct_roles.get_role_for_target(path)
    metadata = Metadata[Targets].from_file(os.path.join(folder, f"1.{name}.json"))
    metadata.signed.targets[path] = TargetFile.from_data(path, b"another", ["sha256"])
    metadata.signed.version = 2
    metadata.sign(signer("bins"))
    metadata.to_file(os.path.join(folder, f"2.{name}.json"), JSONSerializer(compact=True))
    snapshot.signed.meta[f"{name}.json"].version = 2
    snapshot.signed.version = 2
    publish(snapshot, "snapshot", "2.snapshot.json")
    publish(Metadata(Timestamp(2, expires=EXPIRES, snapshot_meta=MetaFile(2))), "timestamp", "timestamp.json")


WORK = {
    "create": create,
    "one-more": one_more,
    "bins": lambda: bins(int(sys.argv[2])),
    "one-more-in-bins": one_more_in_bins,
}
WORK[sys.argv[1]]()
