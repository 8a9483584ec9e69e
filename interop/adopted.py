"""Makes and publishes a repository with python-tuf's own model, as its users do, for tuf-repo to take over.

Usage: adopted.py FOLDER consistent|plain. Writes FOLDER/metadata, FOLDER/targets and the private keys FOLDER/keys/ROLE. There
are two roots, a delegation by paths and, in it, hash bins (succinct roles), members that tuf-repo does not know, and key
ids of another making.
"""

import os
import sys
from datetime import datetime, timezone

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
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

EXPIRES = datetime(2040, 1, 1, tzinfo=timezone.utc)


def main(folder: str, layout: str) -> None:
    consistent = layout == "consistent"
    for name in ("metadata", "targets", "keys"):
        os.makedirs(os.path.join(folder, name))
    signers = {}
    for role, kind in [
        ("root", "ed25519"),
        ("targets", "ecdsa"),
        ("snapshot", "ed25519"),
        ("timestamp", "rsa"),
        ("team", "ed25519"),
        ("bins", "ed25519"),
    ]:
        signers[role] = getattr(CryptoSigner, f"generate_{kind}")()
        with open(os.open(os.path.join(folder, "keys", role), os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(signers[role].private_bytes)
    # an id need not be a hash of anything (TAP 12)
    signers["targets"].public_key.keyid = "targets-key-of-2019"
    signers["root"].public_key.unrecognized_fields["x-tuf-on-ci-keyowner"] = "@alice"

    def put(metadata: Metadata, names: list[str], *roles: str) -> None:
        for role in roles:
            metadata.sign(signers[role], append=True)
        for name in names:
            metadata.to_file(os.path.join(folder, "metadata", name))

    def named(role: str, version: int) -> list[str]:
        return [f"{version}.{role}.json" if consistent else f"{role}.json"]

    def target(path: str, content: bytes) -> TargetFile:
        info = TargetFile.from_data(path, content, ["sha256", "sha512"])
        info.unrecognized_fields["custom"] = {"note": "é"}
        directory, name = os.path.split(path)
        place = os.path.join(folder, "targets", directory)
        os.makedirs(place, exist_ok=True)
        for stored in [f"{digest}.{name}" for digest in info.hashes.values()] if consistent else [name]:
            with open(os.path.join(place, stored), "wb") as file:
                file.write(content)
        return info

    root = Root(expires=EXPIRES, consistent_snapshot=consistent, unrecognized_fields={"x-unknown": ["kept", 1]})
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(signers[role].public_key, role)
    put(Metadata(root), ["1.root.json"], "root")
    root.version = 2
    put(Metadata(root), ["2.root.json", "root.json"], "root")

    bins = SuccinctRoles([signers["bins"].public_key.keyid], 1, 2, "bin")
    team = Targets(version=4, expires=EXPIRES)
    team.delegations = Delegations({signers["bins"].public_key.keyid: signers["bins"].public_key}, succinct_roles=bins)
    versions = {"targets": 3, "team": 4}
    files = {bin_: Targets(expires=EXPIRES) for bin_ in bins.get_roles()}
    for path in ("team/a.txt", "team/b.txt"):
        files[bins.get_role_for_target(path)].targets[path] = target(path, path.encode())
    for name, content in files.items():
        put(Metadata(content), named(name, 1), "bins")
        versions[name] = 1
    put(Metadata(team), named("team", 4), "team")

    targets = Targets(version=3, expires=EXPIRES, unrecognized_fields={"x-unknown": {"kept": True}})
    targets.targets["file.txt"] = target("file.txt", b"file")
    key = signers["team"].public_key
    targets.delegations = Delegations(
        {key.keyid: key}, {"team": DelegatedRole("team", [key.keyid], 1, False, paths=["team/*"])}
    )
    put(Metadata(targets), named("targets", 3), "targets")

    meta = {f"{role}.json": MetaFile(version) for role, version in versions.items()}
    put(Metadata(Snapshot(version=7, expires=EXPIRES, meta=meta)), named("snapshot", 7), "snapshot")
    with open(os.path.join(folder, "metadata", named("snapshot", 7)[0]), "rb") as file:
        snapshot = MetaFile.from_data(7, file.read(), ["sha256"])
    put(Metadata(Timestamp(version=12, expires=EXPIRES, snapshot_meta=snapshot)), ["timestamp.json"], "timestamp")


main(*sys.argv[1:])
