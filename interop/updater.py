"""Fetches every file below a folder with python-tuf's own client and compares it byte for byte.

Usage: updater.py URL ROOT.json EXPECTED WORK [PREFIX]. Only files whose path starts with PREFIX/ are fetched. Another run with
the same WORK stands on what the run before it trusted, as a client does that comes back.
"""

import os
import sys
import urllib.parse

from tuf.ngclient import Updater


def main(url: str, root: str, expected: str, work: str, prefix: str = "") -> None:
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
    count = 0
    for folder, _, names in os.walk(os.path.join(expected, prefix)):
        for name in sorted(names):
            if is_hash_named(name):
                continue
            file = os.path.join(folder, name)
            path = os.path.relpath(file, expected).replace(os.sep, "/")
            info = updater.get_targetinfo(path)
            assert info is not None, f"python-tuf does not find {path!r}"
            # python-tuf puts the path into the URL as it is, where a browser would encode it: encoding is up to the
            # caller, who has to do it for the path that the request is made of and not for the one that is looked up
            info.path = urllib.parse.quote(path, safe="/")
            got = updater.download_target(info, filepath=os.path.join(work, "targets", str(count)))
            with open(got, "rb") as one, open(file, "rb") as other:
                assert one.read() == other.read(), f"{path!r} differs"
            count += 1
    assert count > 0, "nothing to fetch"
    print(f"python-tuf fetched {count} files")


def is_hash_named(name: str) -> bool:
    start = name.split(".", 1)[0]
    return len(start) in (64, 128) and all(c in "0123456789abcdef" for c in start)


main(*sys.argv[1:])
