#!/usr/bin/env bash
# Makes demo-repository/repository anew: same keys, same clock, same bytes. With an argument it is made in that folder.
# tuf-repo is taken from PATH; where it is not there, it is built.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
destination=${1:-$here/repository}
if ! command -v tuf-repo >/dev/null; then
    (cd "$here/.." && cargo build --locked --bin tuf-repo)
    target=$(cd "$here/.." && cargo metadata --locked --no-deps --format-version 1 |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    PATH="$target/debug:$PATH"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/keys"
cp "$here"/../keystore-example/* "$work/keys/"
chmod 600 "$work"/keys/*
cd "$work"
export TUF_REPO=repository KEY_PASSWORD=password LC_ALL=C
umask 022

online=(--key keys/targets --key keys/snapshot --key keys/timestamp)
delegated=(--key keys/docs --key keys/translations)
# Dates all metadata by the same moment.
tuf() {
    tuf-repo --quiet --no-input --time 2026-01-01T00:00:00Z "$@"
}

# Two root keys, one of them with a password; metadata that lasts, since nobody will sign here again. Drafts that are
# dropped before anything was written start over, by the policy as it is then.
tuf init
sed 's/^expires = .*/expires = "50y"/' repository/tuf-repo.toml >policy
cp policy repository/tuf-repo.toml
tuf discard
tuf add-key root keys/root-a.pub keys/root-b.pub
tuf threshold root 2
for role in targets snapshot timestamp; do
    tuf add-key "$role" "keys/$role.pub"
done
tuf write "${online[@]}" --key keys/root-a --key keys/root-b --password-env KEY_PASSWORD

# The first files, and two delegations, one in the other.
mkdir -p repository/targets/docs/de
echo 'file1' >repository/targets/file1.txt
echo 'file2' >repository/targets/file2.txt
echo 'How to use it.' >repository/targets/docs/manual.txt
echo 'Wie man es benutzt.' >repository/targets/docs/de/handbuch.txt
tuf add-targets repository/targets --custom '{"release":"1.0"}'
tuf delegate docs --key keys/docs.pub --paths 'docs/*' 'docs/de/*'
tuf delegate translations --from docs --key keys/translations.pub --paths 'docs/de/*'
tuf add-targets repository/targets/docs --role docs
tuf add-targets repository/targets/docs/de --role translations
tuf write "${online[@]}" "${delegated[@]}"
tuf publish

# A file is replaced, and a third root key comes in: version 2 of root, signed as version 1 asks.
echo 'file2, second edition' >repository/targets/file2.txt
tuf add-targets repository/targets/file2.txt --replace --custom '{"release":"2.0"}'
tuf add-key root keys/root-c.pub
tuf write "${online[@]}" --key keys/root-a --key keys/root-b --password-env KEY_PASSWORD
tuf publish
tuf verify --live --targets

rm -rf "$destination"
mkdir -p "$(dirname "$destination")"
cp -R repository "$destination"
# git keeps no empty folders
find "$destination" -type d -empty -delete
