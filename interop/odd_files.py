"""Makes what canonical JSON can be tripped by.

Usage: odd_files.py FOLDER makes files with odd names. odd_files.py --custom prints data to attach to each of them.

Control characters are in the data only: tuf-repo refuses them in the paths of targets, since terminals and logs obey them.
"""

import json
import os
import sys

NAMES = [
    "plain",
    "with space",
    'double"quote',
    "single'quote",
    "back\\slash",
    "percent%41%2F",
    "question?mark#hash&amp+plus",
    "star*[class]",
    "\u00e9 precomposed",
    "e\u0301 decomposed",
    "\u212b angstrom",
    "\U0001f980 beyond the basic plane",
    "\ufb01 ligature, in front of the plane above by code point, behind it by UTF-16",
    "\u2028 line separator",
    "\ufeff byte order mark",
    "\u202e right to left",
]

CUSTOM = {
    "": "an empty key",
    "controls": "".join(chr(c) for c in range(1, 32)) + "\x7f",
    "quotes": "\" \\ \\\" / \\u0041",
    "unicode": "\u00e9 e\u0301 \u212b \U0001f980 \ufb01 \u2028 \u2029 \ufeff",
    "\u00e9": 1,
    "e\u0301": 2,
    "\U0001f980": 3,
    "\ufb01": 4,
    "z\tz": 5,
    "numbers": [0, -1, 9007199254740993, -9007199254740993],
    "nested": {"b": [], "a": {}, "C": [None, True, False, {"\n": "\r"}]},
}


def main(what: str) -> None:
    if what == "--custom":
        print(json.dumps(CUSTOM))
        return
    os.makedirs(what)
    for number, name in enumerate(NAMES):
        with open(os.path.join(what, name), "w", encoding="utf-8") as file:
            file.write(f"{number} {name}\n")


main(sys.argv[1])
