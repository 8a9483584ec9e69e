#!/usr/bin/env bash
# The interoperability stage: what tuf-repo makes is read by python-tuf, and both clients fetch real release files, the
# packages of this project's own dependencies, byte for byte. Nothing is installed outside .venv and the build folder.
#
#   bash interop/run.sh          everything
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
folder=
server=
passed=0

finish() {
    local code=$?
    trap - EXIT
    stop_server
    [[ -z $folder ]] || rm -rf "$folder"
    if ((code != 0)); then echo "interop: FAILED (exit code $code) after $passed steps" >&2; fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stop_server() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}

passes() {
    passed=$((passed + 1))
    echo "ok $passed: $*"
}

# Starts the development server of a repository and sets $url.
start_server() {
    stop_server
    rm -f "$folder/url"
    tuf-repo -q -r "$1" serve --bind 127.0.0.1:0 >"$folder/url" 2>"$folder/server.log" &
    server=$!
    for _ in $(seq 200); do
        [[ -s $folder/url ]] && break
        kill -0 "$server" 2>/dev/null || { cat "$folder/server.log" >&2; return 1; }
        sleep 0.05
    done
    url=$(cat "$folder/url")
    [[ -n $url ]]
}

# Makes a virtual environment with python-tuf, once.
prepare_python() {
    python=$top/.venv/bin/python
    if ! "$python" -c 'import tuf' 2>/dev/null; then
        rm -rf "$top/.venv"
        python3 -m venv "$top/.venv"
        "$python" -m pip install --quiet --disable-pip-version-check 'tuf==7.*' 'securesystemslib[crypto]'
    fi
    "$python" -c 'import tuf; print("python-tuf", tuf.__version__)'
}

# Makes the keys of the four roles in a folder, and a repository of a layout that trusts them.
make_repository() {
    local repository=$1 keys=$2
    shift 2
    tuf-repo -q init "$repository" "$@"
    local role
    for role in root targets snapshot timestamp; do
        tuf-repo -q keygen "$keys/$role" --no-password >/dev/null
        tuf-repo -q -r "$repository" add-key "$role" "$keys/$role.pub"
    done
}

# Serves a repository and has both clients fetch everything in it, which must be what is in a folder, byte for byte. A client's
# folder is kept: the next time it stands on what it trusts.
both_clients_have() {
    local repository=$1 expected=$2 work=$3
    start_server "$repository"
    "$python" interop/updater.py "$url" "$repository/metadata/1.root.json" "$expected" "$work/python"
    local fetch=(tuf-fetch -q --metadata-dir "$work/fetch/metadata" --target-dir "$work/fetch/targets")
    [[ -d $work/fetch ]] || "${fetch[@]}" init "$repository/metadata/1.root.json" >/dev/null
    "${fetch[@]}" --repo "$url" download --all >/dev/null
    diff -r "$expected" "$work/fetch/targets"
}

# Real files: one delegation for each first letter, and one nested in it.
release_files() {
    local layout=$1 work=$folder/release-$1
    shift
    local repository=$work/repository keys=$work/keys letter
    make_repository "$repository" "$keys" "$@"
    export TUF_REPO=$repository
    local signing=(--key "$keys/root" --key "$keys/targets" --key "$keys/snapshot" --key "$keys/timestamp")
    for letter in $(ls "$folder/crates"); do
        tuf-repo -q keygen "$keys/letter-$letter" --no-password >/dev/null
        tuf-repo -q delegate "$letter" --key "$keys/letter-$letter.pub" --paths "$letter/*"
        signing+=(--key "$keys/letter-$letter")
    done
    # below the letter s, one family of packages has a role of its own
    tuf-repo -q keygen "$keys/serde" --no-password >/dev/null
    tuf-repo -q delegate serde --from s --key "$keys/serde.pub" --paths 's/serde*'
    signing+=(--key "$keys/serde")
    for letter in $(ls "$folder/crates"); do
        if [[ $letter == s ]]; then
            local family=("$folder"/crates/s/serde*) others
            mapfile -t others < <(ls -d "$folder"/crates/s/* | grep -v '/serde[^/]*$')
            tuf-repo -q add-targets "${family[@]}" --base "$folder/crates" --role serde
            tuf-repo -q add-targets "${others[@]}" --base "$folder/crates" --role s
        else
            tuf-repo -q add-targets "$folder/crates/$letter" --base "$folder/crates" --role "$letter"
        fi
    done
    tuf-repo write "${signing[@]}"
    tuf-repo -q publish
    tuf-repo verify --live --targets >/dev/null
    passes "$layout: $(ls "$folder/crates" | wc -l) delegations and a nested one are written and published"

    both_clients_have "$repository" "$folder/crates" "$work"
    passes "$layout: python-tuf's client and tuf-fetch have $(find "$folder/crates" -type f | wc -l) files, byte for byte"
    "$python" interop/metadata.py "$repository/metadata"
    passes "$layout: python-tuf reads and verifies every metadata file"
    stop_server
    unset TUF_REPO
}

# The same files in hash bins: $1 of them, succinct (TAP 15) or --classic (path_hash_prefixes), and one target added later.
hash_bins() {
    local number=$1 kind=$2 layout=$3 what
    shift 3
    what="$number $kind bins, $layout"
    local work=$folder/bins-$kind-$number-$layout
    local repository=$work/repository keys=$work/keys more=()
    [[ $kind == succinct ]] || more=(--classic)
    make_repository "$repository" "$keys" "$@"
    export TUF_REPO=$repository
    tuf-repo -q keygen "$keys/bin" --no-password >/dev/null
    tuf-repo -q delegate bin --bins "$number" "${more[@]}" --key "$keys/bin.pub"
    tuf-repo -q add-targets "$folder"/crates/* --base "$folder/crates" --role bin
    tuf-repo -q write --key-dir "$keys"
    tuf-repo -q publish
    "$python" interop/metadata.py "$repository/metadata"
    both_clients_have "$repository" "$folder/crates" "$work"
    passes "$what: python-tuf verifies them all, and both clients have every file, byte for byte"

    cp -r "$folder/crates" "$work/expected"
    mkdir "$work/expected/later"
    printf 'added later\n' >"$work/expected/later/added.txt"
    tuf-repo -q add-targets "$work/expected/later" --base "$work/expected" --role bin
    [[ $(ls "$repository/metadata.staged/.drafts" | grep -c '^bin-') == 1 ]]
    tuf-repo -q write --key-dir "$keys"
    tuf-repo -q publish
    both_clients_have "$repository" "$work/expected" "$work"
    passes "$what: one bin is drafted for one more target, which both clients find"
    stop_server
    unset TUF_REPO
}

# Two roles that share the paths by prefixes of their digests, which were given by hand.
hash_prefixes() {
    local work=$folder/prefixes path low=() high=()
    local repository=$work/repository keys=$work/keys
    make_repository "$repository" "$keys"
    export TUF_REPO=$repository
    tuf-repo -q keygen "$keys/halves" --no-password >/dev/null
    tuf-repo -q delegate low --key "$keys/halves.pub" --path-hash-prefixes 0 1 2 3 4 5 6 70 71 72 73 74 75 76 77 78 79 \
        7a 7b 7c 7d 7e 7f
    tuf-repo -q delegate high --key "$keys/halves.pub" --path-hash-prefixes 8 9 a b c d e f
    while read -r path; do
        case $(printf %s "$path" | sha256sum) in
            [0-7]*) low+=("$folder/crates/$path") ;;
            *) high+=("$folder/crates/$path") ;;
        esac
    done < <(cd "$folder/crates" && find . -type f -printf '%P\n')
    tuf-repo -q add-targets "${low[@]}" --base "$folder/crates" --role low
    tuf-repo -q add-targets "${high[@]}" --base "$folder/crates" --role high
    tuf-repo -q write --key-dir "$keys"
    tuf-repo -q publish
    "$python" interop/metadata.py "$repository/metadata"
    both_clients_have "$repository" "$folder/crates" "$work"
    passes "path_hash_prefixes by hand: python-tuf verifies both halves, and both clients have every file, byte for byte"
    stop_server
    unset TUF_REPO
}

# Every type of key, for every role, with a rotation of the root, and what canonical JSON can be tripped by.
key_types() {
    local layout=$1 work=$folder/keys-$1
    shift
    local repository=$work/repository keys=$work/keys role type signing=()
    tuf-repo -q init "$repository" "$@"
    export TUF_REPO=$repository
    for type in ed25519 rsa ecdsa; do
        for role in root targets snapshot timestamp odd; do
            tuf-repo -q keygen "$keys/$role-$type" --type "$type" --no-password >/dev/null
            signing+=(--key "$keys/$role-$type")
        done
    done
    # the other scheme of RSA keys, and the other curve, which keygen does not make
    tuf-repo -q keygen "$keys/targets-pkcs1" --type rsa --bits 2048 --no-password >/dev/null
    "$python" interop/p384.py "$keys/targets-p384"
    for role in root targets snapshot timestamp; do
        tuf-repo -q add-key "$role" "$keys/$role"-{ed25519,rsa,ecdsa}.pub
        tuf-repo -q threshold "$role" 3
    done
    tuf-repo -q add-key targets "$keys/targets-pkcs1.pub" --scheme rsa-pkcs1v15-sha256
    tuf-repo -q add-key targets "$keys/targets-p384.pub"
    tuf-repo -q threshold targets 5
    signing+=(--key "$keys/targets-pkcs1" --key "$keys/targets-p384")
    tuf-repo -q delegate 'ödd/role name' --key "$keys"/odd-ed25519.pub --key "$keys"/odd-rsa.pub \
        --key "$keys"/odd-ecdsa.pub --threshold 3 --paths 'odd/*'
    "$python" interop/odd_files.py "$repository/targets/odd"
    local custom
    custom=$("$python" interop/odd_files.py --custom)
    tuf-repo -q add-targets "$repository/targets/odd" --role 'ödd/role name' --custom "$custom"
    tuf-repo -q write "${signing[@]}"
    tuf-repo -q publish
    # a new root, signed by the old keys and the new one
    tuf-repo -q keygen "$keys/root-new" --type ecdsa --no-password >/dev/null
    tuf-repo -q rotate-key root --old "$keys/root-ed25519.pub" --new "$keys/root-new.pub"
    tuf-repo -q write "${signing[@]}" --key "$keys/root-new"
    tuf-repo -q publish
    "$python" interop/metadata.py "$repository/metadata"
    passes "$layout: python-tuf verifies ed25519, RSA, ECDSA P-256 and P-384 signatures, thresholds and a new root"
    start_server "$repository"
    "$python" interop/updater.py "$url" "$repository/metadata/1.root.json" "$repository/targets" "$work/python" odd
    passes "$layout: python-tuf's client follows the roots and has the files with odd names"
    tuf-fetch -q --metadata-dir "$work/fetch/metadata" init "$repository/metadata/1.root.json" >/dev/null
    tuf-fetch -q --metadata-dir "$work/fetch/metadata" --target-dir "$work/fetch/targets" --repo "$url" >/dev/null
    "$python" interop/same_files.py "$repository/targets/odd" "$work/fetch/targets/odd"
    passes "$layout: tuf-fetch does as well"
    stop_server
    unset TUF_REPO
}

# A repository made by python-tuf is taken over, and clients that accepted it accept what follows.
taken_over() {
    local layout=$1 work=$folder/taken-over-$1
    local theirs=$work/theirs mine=$work/mine role
    "$python" interop/adopted.py "$theirs" "$layout"
    mkdir -p "$work/expected/team"
    printf file >"$work/expected/file.txt"
    printf team/a.txt >"$work/expected/team/a.txt"
    printf team/b.txt >"$work/expected/team/b.txt"
    # the development server serves folders that look like one of tuf-repo's
    mkdir "$theirs/metadata.staged"
    both_clients_have "$theirs" "$work/expected" "$work"
    tuf-repo -q init "$mine" --from "$url" --trusted-root "$theirs/metadata/1.root.json"
    for role in metadata metadata.staged; do
        diff -r "$theirs/metadata" "$mine/$role"
    done
    diff -r "$theirs/targets" "$mine/targets"
    export TUF_REPO=$mine
    tuf-repo status --check | grep -q '^No dirty roles$'
    tuf-repo status -v | grep -q '(@alice)'
    tuf-repo verify --targets >/dev/null
    tuf-repo verify --live --targets >/dev/null
    passes "$layout: a repository made by python-tuf is taken over over HTTP, byte for byte, and is clean at once"
    printf new >"$mine/targets/new.txt"
    tuf-repo -q add-targets "$mine/targets/new.txt"
    tuf-repo -q sign --key-dir "$theirs/keys"
    tuf-repo -q write
    tuf-repo -q publish
    "$python" interop/metadata.py "$mine/metadata" loosely
    cp "$mine/targets/new.txt" "$work/expected/new.txt"
    both_clients_have "$mine" "$work/expected" "$work"
    grep -q 'targets-key-of-2019' "$mine"/metadata/*targets.json
    grep -q 'x-unknown' "$mine/metadata/$([[ $layout == plain ]] && echo targets || echo 4.targets).json"
    cmp "$theirs/metadata/2.root.json" "$mine/metadata/root.json"
    passes "$layout: continued with a target, it is accepted by both clients that had accepted it before"
    stop_server
    unset TUF_REPO
}

# Key files of securesystemslib, of today and of before 1.0, are read; those of tuf-repo are read by it.
key_files() {
    local work=$folder/key-files old=$top/.venv/securesystemslib-0 name id kind
    mkdir "$work"
    printf 'correct horse\n' >"$work/password"
    [[ -d $old ]] || "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$old" \
        'securesystemslib==0.31.*'
    "$python" interop/key_files.py make "$work"
    PYTHONPATH=$old "$python" interop/key_files.py old "$work"
    while read -r name id; do
        [[ $(tuf-repo key id "$work/$name" --password-file "$work/password") == "$id" ]]
    done <"$work/ids"
    passes "key files of securesystemslib are read, and have the ids that it gives them"
    for kind in ed25519 rsa ecdsa; do
        tuf-repo -q key convert "$work/old-$kind" --out "$work/converted-$kind" --password-file "$work/password" >/dev/null
        cmp "$work/old-$kind.spki" "$work/converted-$kind.pub"
        id=$(tuf-repo key id "$work/converted-$kind.pub")
        "$python" interop/key_files.py check "$work/converted-$kind" 'correct horse' "$id"
    done
    passes "encrypted files of securesystemslib 0.31 are converted, and it signs with what came of them"
    for kind in ed25519 rsa ecdsa; do
        tuf-repo -q keygen "$work/made-$kind" --type "$kind" --password-file "$work/password" >/dev/null
        tuf-repo -q keygen "$work/open-$kind" --type "$kind" --no-password >/dev/null
        "$python" interop/key_files.py check "$work/made-$kind" 'correct horse' "$(tuf-repo key id "$work/made-$kind.pub")"
        "$python" interop/key_files.py check "$work/open-$kind" '' "$(tuf-repo key id "$work/open-$kind.pub")"
    done
    passes "securesystemslib opens the files of keygen, encrypted and not, signs with them, and has the same ids"
}

# Copies of one repository, one of them stale and one a thief's: clients are never taken back, and those that took the thief's
# versions get through again once a new root has taken the stolen keys away.
copies() {
    local layout=$1 work=$folder/copies-$1 role
    shift
    local keys=$work/keys www=$work/www files=$work/files
    make_repository "$work/honest" "$keys" "$@"
    local signing=(--key "$keys/root" --key "$keys/targets" --key "$keys/snapshot" --key "$keys/timestamp")
    mkdir "$files"
    echo one >"$files/one"
    tuf-repo -q -r "$work/honest" add-targets "$files/one" --base "$files"
    tuf-repo -q -r "$work/honest" write "${signing[@]}"
    cp -r "$work/honest" "$work/stale"
    # the development server wants a repository
    cp -r "$work/honest" "$www"
    echo two >"$files/two"
    tuf-repo -q -r "$work/honest" add-targets "$files/two" --base "$files"
    tuf-repo -q -r "$work/honest" write "${signing[@]}"
    tuf-repo -q -r "$work/honest" publish --to "$www"
    both_clients_have "$www" "$files" "$work"
    tuf-repo -q keygen "$keys/other" --no-password >/dev/null
    tuf-repo -q -r "$work/stale" rotate-key timestamp --old "$keys/timestamp.pub" --new "$keys/other.pub"
    tuf-repo -q -r "$work/stale" write "${signing[@]::6}" --key "$keys/other"
    if tuf-repo -q -r "$work/stale" publish --to "$www" 2>/dev/null; then return 1; fi
    both_clients_have "$www" "$files" "$work"
    passes "$layout: a stale copy with a new root takes no client back"

    cp -r "$work/honest" "$work/thief"
    for role in targets snapshot timestamp; do
        tuf-repo -q -r "$work/thief" bump "$role" --version 1000000
    done
    tuf-repo -q -r "$work/thief" write "${signing[@]}"
    tuf-repo -q -r "$work/thief" publish --to "$www"
    both_clients_have "$www" "$files" "$work"
    signing=(--key "$keys/root")
    for role in targets snapshot timestamp; do
        tuf-repo -q keygen "$keys/new-$role" --no-password >/dev/null
        tuf-repo -q -r "$work/honest" rotate-key "$role" --old "$keys/$role.pub" --new "$keys/new-$role.pub"
        signing+=(--key "$keys/new-$role")
    done
    tuf-repo -q -r "$work/honest" write "${signing[@]}"
    if tuf-repo -q -r "$work/honest" publish --to "$www" 2>/dev/null; then return 1; fi
    tuf-repo -q -r "$work/honest" publish --to "$www" --recover targets snapshot timestamp --yes
    both_clients_have "$www" "$files" "$work"
    both_clients_have "$www" "$files" "$work/new"
    passes "$layout: clients that took a thief's fast forward get through again, and so do new ones"
    stop_server
}

prepare_python
cargo build --locked --bins
cargo fetch --locked
target=$(cargo metadata --locked --no-deps --format-version 1 |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
export PATH="$target/debug:$PATH" PYTHONDONTWRITEBYTECODE=1
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
unset TUF_REPO
folder=$(mktemp -d)
"$python" interop/crates.py "$folder/crates"

release_files consistent
release_files plain --no-consistent-snapshot
hash_bins 16 succinct consistent
hash_bins 1024 succinct consistent
hash_bins 16 classic consistent
hash_bins 1024 classic consistent
hash_bins 16 succinct plain --no-consistent-snapshot
hash_prefixes
key_types consistent
key_types plain --no-consistent-snapshot
key_files
taken_over consistent
taken_over plain
copies consistent
copies plain --no-consistent-snapshot

echo "interop: $passed passed, 0 failed"
