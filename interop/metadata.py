"""Reads every metadata file of a folder with python-tuf, verifies it by who delegates to it, and writes it again.

Usage: metadata.py FOLDER [loosely], with the files of either layout; loosely where others have written some of them. python-tuf signs and verifies the canonical JSON that it makes
itself of what it has read, so each signature that it accepts says that both programs agree about that form, byte for byte.
"""

import json
import os
import sys
import urllib.parse

from securesystemslib.formats import encode_canonical
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import CanonicalJSONSerializer, JSONSerializer


class Repository:
    def __init__(self, folder: str, strictly: bool) -> None:
        self.folder = folder
        self.strictly = strictly
        self.read: set[str] = set()
        self.signatures = 0

    def load(self, name: str, kind: type) -> Metadata:
        path = os.path.join(self.folder, name)
        metadata = Metadata.from_file(path)
        assert isinstance(metadata.signed, kind), name
        with open(path, "rb") as file:
            raw = file.read()
        # nothing is lost or changed on the way through python-tuf's model
        signed = CanonicalJSONSerializer().serialize(metadata.signed)
        assert signed == encode_canonical(json.loads(raw)["signed"]).encode(), f"{name}: other canonical bytes"
        again = Metadata.from_bytes(metadata.to_bytes(JSONSerializer(validate=True)))
        assert again == metadata, f"{name}: differs once it is written again"
        if not self.strictly:
            return self.took(name, metadata)
        # what tuf-repo writes is the pretty form of the canonical order: readable, and still one form only
        assert json.loads(raw) == metadata.to_dict(), name
        return self.took(name, metadata)

    def took(self, name: str, metadata: Metadata) -> Metadata:
        self.read.add(name)
        self.signatures += len(metadata.signatures)
        return metadata

    def verify(self, authority: Metadata, role: str, metadata: Metadata) -> None:
        result = authority.signed.get_verification_result(
            role, metadata.signed_bytes, metadata.signatures
        )
        assert result.verified, f"{role}: {len(result.signed)} of {result.threshold} signatures"
        # every signature there is must count, not just enough of them
        if role != "root":
            assert len(result.signed) == len(metadata.signatures), f"{role}: a signature does not verify"


def main(folder: str, how: str = "strictly") -> None:
    repository = Repository(folder, how == "strictly")
    root = repository.load("1.root.json", Root)
    repository.verify(root, "root", root)
    while os.path.exists(os.path.join(folder, f"{root.signed.version + 1}.root.json")):
        newer = repository.load(f"{root.signed.version + 1}.root.json", Root)
        repository.verify(root, "root", newer)
        repository.verify(newer, "root", newer)
        root = newer
    assert repository.load("root.json", Root) == root, "root.json is not the newest root"

    def file_of(role: str, version: int) -> str:
        name = urllib.parse.quote(role, "") + ".json"
        return f"{version}.{name}" if root.signed.consistent_snapshot else name

    timestamp = repository.load("timestamp.json", Timestamp)
    repository.verify(root, "timestamp", timestamp)
    snapshot = repository.load(file_of("snapshot", timestamp.signed.snapshot_meta.version), Snapshot)
    assert snapshot.signed.version == timestamp.signed.snapshot_meta.version
    repository.verify(root, "snapshot", snapshot)

    pending = [("targets", root)]
    roles = 0
    while pending:
        role, delegator = pending.pop()
        version = snapshot.signed.meta[f"{role}.json"].version
        targets = repository.load(file_of(role, version), Targets)
        assert targets.signed.version == version
        repository.verify(delegator, role, targets)
        roles += 1
        delegations = targets.signed.delegations
        if delegations is not None:
            children = delegations.roles or delegations.succinct_roles.get_roles()
            pending.extend((child, targets) for child in children)
    print(
        f"python-tuf read {len(repository.read)} files of {roles} roles that list targets, "
        f"{repository.signatures} signatures"
    )


main(*sys.argv[1:])
