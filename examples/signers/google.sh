#!/bin/sh
# An exec: signer in front of Google Cloud KMS. NOT TESTED by this project: no account was at hand.
#
#   tuf-repo sign --key 'exec:examples/signers/google.sh projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1 ecdsa-sha2-nistp256'
#
# The purpose of the key is ASYMMETRIC_SIGN; the second word is the scheme of its algorithm (EC_SIGN_P256_SHA256,
# EC_SIGN_P384_SHA384, RSA_SIGN_PSS_…_SHA256, RSA_SIGN_PKCS1_…_SHA256). Needs gcloud, jq, openssl.
set -eu
version=$1
scheme=$2
read -r question
ask() { printf '%s' "$question" | jq -r "$1"; }

if [ "$(ask .op)" = public ]; then
    case $scheme in rsa*) keytype=rsa ;; *) keytype=ecdsa ;; esac
    gcloud kms keys versions get-public-key "$version" |
        jq -Rsc --arg t "$keytype" --arg s "$scheme" '{keytype: $t, scheme: $s, keyval: {public: .}}'
    exit
fi

case $scheme in *384) digest=sha384 ;; *) digest=sha256 ;; esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ask .payload_b64 | openssl base64 -d -A >"$folder/payload"
gcloud kms asymmetric-sign --version="$version" --digest-algorithm="$digest" \
    --input-file="$folder/payload" --signature-file="$folder/sig"
od -An -v -tx1 <"$folder/sig" | tr -d ' \n' | jq -Rsc '{sig: .}'
