#!/usr/bin/env bash
# The attacks of docs/attacks.md, against real servers on this machine: each must be refused by name, and after each
# the next honest update must work. `bash docs/attacks.sh` builds what it needs; TUF_REPO_BIN, TUF_FETCH_BIN and
# ATTACKER_BIN name programs that are built already. Ends with 0 when every attack failed.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
if [[ -z ${TUF_REPO_BIN:-} || -z ${TUF_FETCH_BIN:-} || -z ${ATTACKER_BIN:-} ]]; then
    (cd "$here" && cargo build --quiet --bins --example attacker)
    built=${CARGO_TARGET_DIR:-$here/target}/debug
    TUF_REPO_BIN=$built/tuf-repo TUF_FETCH_BIN=$built/tuf-fetch ATTACKER_BIN=$built/examples/attacker
fi
unset TUF_REPO http_proxy HTTP_PROXY all_proxy ALL_PROXY

work=$(mktemp -d)
servers=()
finish() {
    for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
cd "$work"
mkdir client

# Ports are chosen by the system; what is shown is what a reader would type.
REPO_URL='' EVIL_URL=http://127.0.0.1:0
shown() { sed -e "s#$REPO_URL#http://localhost:8001#g" -e "s#$EVIL_URL#http://localhost:8002#g" -e "s#$work/##g"; }
heading() { printf '\n== %s\n' "$1"; }
say() { printf '# %s\n' "$1"; }
show() { # as a prompt shows a command
    local words=("$@")
    words[0]=${words[0]##*/}
    printf '$ %s\n' "${words[*]}" | shown
}
run() { show "$@"; "$@" 2>&1 | shown; }
tuf-repo() { "$TUF_REPO_BIN" -r repository "$@"; }
tuf-fetch() { (cd client && "$TUF_FETCH_BIN" "$@"); }
keys() { local key; for key in "$@"; do printf -- '--key keystore/%s ' "$key"; done; }
release() { # signs, writes and publishes what is dirty, with these keys
    # shellcheck disable=SC2046
    tuf-repo -q write $(keys "$@") && tuf-repo -q publish
}
refused() { # CODE, then a command that must fail with it
    local code=$1 status=0
    shift
    show "$@"
    "$@" >said 2>&1 || status=$?
    shown <said
    if [[ $status -ne 1 ]] || ! grep -q "^error: .*: $code: " said; then
        echo "this should have been refused with $code (exit $status)"
        exit 1
    fi
}
honest() { say "the next honest update works"; run tuf-fetch --repo "$REPO_URL" "$@"; }
evil() { # starts the attacker's server in a mode
    "$ATTACKER_BIN" serve "$1" >evil-url &
    servers+=($!)
    while [[ ! -s evil-url ]]; do sleep 0.05; done
    EVIL_URL=$(cat evil-url)
    : >evil-url
}

heading "A repository and a client"
for key in root targets snapshot snapshot2 timestamp; do
    "$TUF_REPO_BIN" -q keygen --no-password "keystore/$key" >keyid
done
tuf-repo -q init
for role in root targets snapshot timestamp; do tuf-repo -q add-key $role keystore/$role.pub; done
tuf-repo -q add-key snapshot keystore/snapshot2.pub
tuf-repo -q threshold snapshot 2
printf 'This is an example target file.' >repository/targets/file1.txt
printf 'This is another example target file.' >repository/targets/file3.txt
tuf-repo -q add-targets repository/targets/file1.txt repository/targets/file3.txt
release root targets snapshot snapshot2 timestamp
"$TUF_REPO_BIN" -r repository serve --bind 127.0.0.1:0 >serving 2>&1 &
servers+=($!)
while ! grep -q http:// serving; do sleep 0.05; done
REPO_URL=$(grep -o 'http://[0-9.:]*' serving | head -1)
run tuf-fetch init ../repository/metadata/1.root.json
run tuf-fetch --repo "$REPO_URL"

heading "1. Arbitrary package"
say "the attacker puts a package of his own where file3.txt is served from"
file=$(echo repository/targets/*.file3.txt)
cp "$file" backup
printf 'This is another harmful target file.' >"$file"
rm -r client/targets
refused BadHashError tuf-fetch --repo "$REPO_URL"
cp backup "$file"
honest

heading "2. Indefinite freeze"
say "the attacker serves the same files for ever; the client's clock has moved on"
refused ExpiredMetadataError tuf-fetch --repo "$REPO_URL" --time 2080-12-25T12:34:56Z
honest refresh

heading "3. Rollback"
say "the attacker keeps a timestamp, and serves it again after the client has seen a newer one"
cp repository/metadata/timestamp.json old-timestamp.json
tuf-repo -q bump timestamp
release timestamp
cp repository/metadata/timestamp.json new-timestamp.json
run tuf-fetch --repo "$REPO_URL" refresh
cp old-timestamp.json repository/metadata/timestamp.json
refused ReplayedMetadataError tuf-fetch --repo "$REPO_URL" refresh
cp new-timestamp.json repository/metadata/timestamp.json
honest refresh

heading "4. Mix and match"
say "the attacker serves the old targets metadata under the name of the new one"
targets=repository/metadata/2.targets.json
printf 'A third file.' >repository/targets/file2.txt
tuf-repo -q add-targets repository/targets/file2.txt
release targets snapshot snapshot2 timestamp
cp $targets backup
cp repository/metadata/1.targets.json $targets
refused BadVersionNumberError tuf-fetch --repo "$REPO_URL" refresh
cp backup $targets
honest

heading "5. Endless data"
say "the attacker appends to a target without end: what is listed is taken, its hash is right, the rest is not read"
file=$(echo repository/targets/*.file1.txt)
cp "$file" backup
head -c 100000 /dev/zero | tr '\0' a >>"$file"
rm -r client/targets
run tuf-fetch --repo "$REPO_URL" download file1.txt
show wc -c client/targets/file1.txt
wc -c <client/targets/file1.txt
cp backup "$file"
say "the attacker's server sends metadata without end"
evil endless
refused EndlessDataError tuf-fetch --repo "$EVIL_URL" refresh
honest

heading "6. Compromised keys below the threshold"
say "the attacker has stolen the timestamp key and one of the two snapshot keys"
run "$ATTACKER_BIN" forge repository/metadata keystore/snapshot keystore/timestamp
refused BadSignatureError tuf-fetch --repo "$REPO_URL" refresh
say "the maintainer replaces the stolen keys; what was signed with the timestamp key alone gives way to the new root"
for key in snapshot3 timestamp2; do "$TUF_REPO_BIN" -q keygen --no-password keystore/$key >keyid; done
run tuf-repo rotate-key timestamp --old keystore/timestamp.pub --new keystore/timestamp2.pub
run tuf-repo rotate-key snapshot --old keystore/snapshot.pub --new keystore/snapshot3.pub
# shellcheck disable=SC2046
run tuf-repo write $(keys root snapshot2 snapshot3 timestamp2)
run tuf-repo publish --recover timestamp --yes
honest

heading "7. Slow retrieval"
say "servers that are silent, drip one byte a second, never finish their headers; the usual patience of 15 seconds is"
say "cut down to 2 here"
for mode in silent drip headers; do
    evil $mode
    refused SlowRetrievalError tuf-fetch --repo "$EVIL_URL" --timeout 2 refresh
done
say "with a mirror the update works all the same"
run tuf-fetch --repo "$EVIL_URL" --mirror "$REPO_URL" --timeout 2
honest

printf '\nEvery attack was refused.\n'
