#!/bin/sh
# An exec: signer in front of Azure Key Vault. NOT TESTED by this project: no account was at hand.
#
#   tuf-repo sign --key 'exec:examples/signers/azure.sh https://VAULT.vault.azure.net/keys/NAME/VERSION rsassa-pss-sha256'
#
# For RSA keys: the service answers ECDSA as two numbers and not in DER. Needs az, jq, openssl.
set -eu
id=$1
scheme=$2
read -r question
ask() { printf '%s' "$question" | jq -r "$1"; }
case $scheme in
rsassa-pss-sha256) algorithm=PS256 ;;
rsa-pkcs1v15-sha256) algorithm=RS256 ;;
*) echo "$0: the scheme $scheme is not supported" >&2; exit 1 ;;
esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ "$(ask .op)" = public ]; then
    az keyvault key download --id "$id" --encoding PEM --file "$folder/public"
    jq -Rsc --arg s "$scheme" '{keytype: "rsa", scheme: $s, keyval: {public: .}}' <"$folder/public"
    exit
fi

digest=$(ask .payload_b64 | openssl base64 -d -A | openssl dgst -sha256 -binary | openssl base64 -A)
az keyvault key sign --id "$id" --algorithm "$algorithm" --digest "$digest" --output json |
    jq -r '.signature | gsub("-"; "+") | gsub("_"; "/") | gsub("="; "") | . + "==="[0:(4 - length % 4) % 4]' |
    openssl base64 -d -A |
    od -An -v -tx1 | tr -d ' \n' | jq -Rsc '{sig: .}'
