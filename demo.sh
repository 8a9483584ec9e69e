#!/usr/bin/env bash
# Shows the main job from beginning to end, in a temporary folder that is gone afterwards: keys, a repository, targets,
# delegations, publication, a client that fetches over HTTP, and one refusal. Each command is printed before it runs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=
server=

finish() {
    local code=$?
    trap - EXIT
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [[ -n $folder ]]; then
        cd /
        rm -rf "$folder"
    fi
    if ((code != 0)); then
        echo "demo.sh: stopped (exit code $code); nothing is left behind but the build in target/" >&2
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "demo.sh: $*" >&2
    exit 1
}

say() {
    printf '\n# %s\n' "$*"
}

# Prints a command as it can be typed, then runs it.
run() {
    local word line='$'
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then line+=" $word"; else line+=" '$word'"; fi
    done
    printf '%s\n' "$line"
    "$@" || fail "this command failed: ${line#\$ }"
}

# Prints and runs a command that must fail with an error of this code.
run_refused() {
    local code=$1
    shift
    printf '$ %s\n' "$*"
    if "$@" 2>&1 | tee refusal; then fail "this should have been refused: $*"; fi
    grep -q "$code" refusal || fail "this was not refused with $code: $*"
}

command -v cargo >/dev/null || fail "cargo is needed to build: install a Rust tool chain first"

echo "Building tuf-repo and tuf-fetch. The first time takes some minutes, since every dependency is compiled; later"
echo "runs start at once. (cargo test uses most of the same build.)"
(cd "$here" && cargo build --locked --bins) || fail "the build failed"
target=$(cd "$here" && cargo metadata --locked --no-deps --format-version 1 |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
export PATH="$target/debug:$PATH"
unset TUF_REPO
# what a command says and what it prints, in the order in which it happens
exec 2>&1
# what is served here is fetched from here
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1

folder=$(mktemp -d)
cd "$folder"

say "Keys: one RSA, one with a password, the others without (never do that with keys that matter)"
export KEY_PASSWORD=correct-horse
run tuf-repo keygen keystore/root_rsa --type rsa --bits 3072 --no-password
run tuf-repo keygen keystore/root_ed25519 --password-env KEY_PASSWORD
for role in targets snapshot timestamp letters greek; do
    run tuf-repo keygen "keystore/$role" --no-password
done

say "A repository whose root needs two signatures"
run tuf-repo init repository
export TUF_REPO=repository
echo '$ export TUF_REPO=repository'
run tuf-repo add-key root keystore/root_rsa.pub keystore/root_ed25519.pub
for role in targets snapshot timestamp; do
    run tuf-repo add-key "$role" "keystore/$role.pub"
done
run tuf-repo threshold root 2
run tuf-repo sign root --key keystore/root_rsa
run tuf-repo status
run tuf-repo sign root --key keystore/root_ed25519 --password-env KEY_PASSWORD
run tuf-repo write --key keystore/targets --key keystore/snapshot --key keystore/timestamp

say "Targets, a delegation, and a delegation inside it"
mkdir -p repository/targets/letters/greek
echo 'read me' >repository/targets/README.txt
head -c 300000 /dev/urandom >repository/targets/data.bin
echo 'a b c' >repository/targets/letters/latin.txt
echo 'alpha beta gamma' >repository/targets/letters/greek/small.txt
run tuf-repo add-targets repository/targets
run tuf-repo delegate letters --key keystore/letters.pub --paths 'letters/*' 'letters/greek/*'
run tuf-repo delegate greek --from letters --key keystore/greek.pub --paths 'letters/greek/*'
run tuf-repo add-targets repository/targets/letters --role letters
run tuf-repo add-targets repository/targets/letters/greek --role greek
run tuf-repo list
run tuf-repo diff targets
run tuf-repo write --key keystore/targets --key keystore/letters --key keystore/greek \
    --key keystore/snapshot --key keystore/timestamp

say "Publish, and serve what is published on a free port of this machine"
run tuf-repo publish
run tuf-repo verify --live --targets
echo '$ tuf-repo serve --bind 127.0.0.1:0 &'
tuf-repo serve --bind 127.0.0.1:0 >url 2>server.log &
server=$!
for _ in $(seq 100); do
    [[ -s url ]] && break
    kill -0 "$server" 2>/dev/null || fail "the server did not start: $(cat server.log)"
    sleep 0.1
done
[[ -s url ]] || fail "the server did not say where it listens"
url=$(cat url)
echo "$url"

say "A client that was handed the first root fetches everything"
mkdir client
run tuf-fetch --metadata-dir client/metadata init repository/metadata/1.root.json
run tuf-fetch --metadata-dir client/metadata --target-dir client/targets --repo "$url" download --all
for name in README.txt data.bin letters/latin.txt letters/greek/small.txt; do
    run cmp "repository/targets/$name" "client/targets/$name"
done
echo "The four files have arrived as they were published, byte for byte."

say "Somebody changes a file on the server: the client refuses it"
served=$(echo repository/targets/letters/*.latin.txt)
echo "\$ echo 'x y z' > $served"
echo 'x y z' >"$served"
run rm client/targets/letters/latin.txt
run_refused BadHashError tuf-fetch --metadata-dir client/metadata --target-dir client/targets --repo "$url" \
    download letters/latin.txt
[[ ! -e client/targets/letters/latin.txt ]] || fail "the client kept a file that it refused"
echo "Nothing of it was kept."

printf '\n%s\n' "Done. docs/tutorial.md goes through the same steps at leisure."
