#!/bin/sh
# An exec: signer in front of HashiCorp Vault's transit engine. NOT TESTED by this project: no server was at hand.
#
#   tuf-repo sign --key 'exec:examples/signers/vault.sh tuf-targets'
#
# The key is of type ed25519, ecdsa-p256 or ecdsa-p384, and VAULT_ADDR and a token are set. Needs vault, jq, openssl.
set -eu
name=$1
read -r question
ask() { printf '%s' "$question" | jq -r "$1"; }
hexadecimal() { od -An -v -tx1 | tr -d ' \n'; }

if [ "$(ask .op)" = public ]; then
    answer=$(vault read -format=json "transit/keys/$name")
    latest=$(printf '%s' "$answer" | jq -r '.data | .keys[.latest_version | tostring].public_key')
    case $(printf '%s' "$answer" | jq -r .data.type) in
    ed25519)
        public=$(printf '%s' "$latest" | openssl base64 -d -A | hexadecimal)
        jq -nc --arg p "$public" '{keytype: "ed25519", scheme: "ed25519", keyval: {public: $p}}'
        ;;
    ecdsa-p256)
        jq -nc --arg p "$latest" '{keytype: "ecdsa", scheme: "ecdsa-sha2-nistp256", keyval: {public: $p}}'
        ;;
    ecdsa-p384)
        jq -nc --arg p "$latest" '{keytype: "ecdsa", scheme: "ecdsa-sha2-nistp384", keyval: {public: $p}}'
        ;;
    *) echo "$0: the type of this key is not supported" >&2; exit 1 ;;
    esac
    exit
fi

case $(ask .scheme) in *384) hash=sha2-384 ;; *) hash=sha2-256 ;; esac
ask .payload_b64 | vault write -field=signature "transit/sign/$name" "hash_algorithm=$hash" input=- |
    sed 's/^vault:v[0-9]*://' | tr -d '\n' | openssl base64 -d -A | hexadecimal | jq -Rsc '{sig: .}'
