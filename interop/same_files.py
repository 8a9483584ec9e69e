"""Compares two folders of targets byte for byte. Usage: same_files.py PUBLISHED FETCHED; HASH.name copies are left out."""

import os
import sys


def names(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if len(name.split(".", 1)[0]) != 64)


def content(folder: str, name: str) -> bytes:
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


published, fetched = sys.argv[1:]
assert names(published) == names(fetched), (names(published), names(fetched))
for name in names(published):
    assert content(published, name) == content(fetched, name), name
print(f"{len(names(published))} files are the same")
