"""The peer of the client's benchmark: python-tuf's client does the same.

client_peer.py METADATA_DIR METADATA_URL TARGET_DIR TARGETS_URL ROOT.json [NAMES_FILE]
"""

import os
import sys

from tuf.ngclient import Updater

metadata_dir, metadata_url, target_dir, targets_url, root = sys.argv[1:6]
os.makedirs(metadata_dir, exist_ok=True)
os.makedirs(target_dir, exist_ok=True)
with open(root, "rb") as file:
    updater = Updater(metadata_dir, metadata_url, target_dir, targets_url, bootstrap=file.read())
updater.refresh()
if len(sys.argv) > 6:
    with open(sys.argv[6]) as names:
        for name in names.read().split():
            updater.download_target(updater.get_targetinfo(name))
