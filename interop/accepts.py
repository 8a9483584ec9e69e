"""Refreshes python-tuf's client, which keeps what it trusts from one run to the next, and fetches targets.

Usage: accepts.py URL ROOT.json WORK TARGET=CONTENT… . The second run stands on what the first one trusted.
"""

import os
import sys

from tuf.ngclient import Updater


def main(url: str, root: str, work: str, *expected: str) -> None:
    for folder in ("metadata", "targets"):
        os.makedirs(os.path.join(work, folder), exist_ok=True)
    with open(root, "rb") as file:
        bootstrap = file.read()
    updater = Updater(
        metadata_dir=os.path.join(work, "metadata"),
        metadata_base_url=f"{url}/metadata/",
        target_dir=os.path.join(work, "targets"),
        target_base_url=f"{url}/targets/",
        bootstrap=bootstrap,
    )
    updater.refresh()
    for item in expected:
        path, content = item.split("=", 1)
        info = updater.get_targetinfo(path)
        assert info is not None, f"python-tuf does not find {path!r}"
        with open(updater.download_target(info), encoding="utf-8") as file:
            assert file.read() == content, path
    print(f"python-tuf accepts it and has {len(expected)} files")


main(*sys.argv[1:])
