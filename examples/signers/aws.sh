#!/bin/sh
# An exec: signer in front of AWS KMS. NOT TESTED by this project: no account was at hand.
#
#   tuf-repo sign --key 'exec:examples/signers/aws.sh alias/tuf-targets'
#
# The key is of usage SIGN_VERIFY and spec ECC_NIST_P256, ECC_NIST_P384 or RSA_2048 and longer. Needs aws, jq, openssl.
set -eu
key=$1
read -r question
ask() { printf '%s' "$question" | jq -r "$1"; }

if [ "$(ask .op)" = public ]; then
    answer=$(aws kms get-public-key --key-id "$key" --output json)
    case $(printf '%s' "$answer" | jq -r .KeySpec) in
    ECC_NIST_P256) keytype=ecdsa scheme=ecdsa-sha2-nistp256 ;;
    ECC_NIST_P384) keytype=ecdsa scheme=ecdsa-sha2-nistp384 ;;
    RSA_*) keytype=rsa scheme=rsassa-pss-sha256 ;;
    *) echo "$0: the kind of this key is not supported" >&2; exit 1 ;;
    esac
    printf '%s' "$answer" | jq -r .PublicKey | openssl base64 -d -A | openssl pkey -pubin -inform DER |
        jq -Rsc --arg t "$keytype" --arg s "$scheme" '{keytype: $t, scheme: $s, keyval: {public: .}}'
    exit
fi

case $(ask .scheme) in
ecdsa-sha2-nistp256) algorithm=ECDSA_SHA_256 ;;
ecdsa-sha2-nistp384) algorithm=ECDSA_SHA_384 ;;
rsassa-pss-sha256) algorithm=RSASSA_PSS_SHA_256 ;;
rsa-pkcs1v15-sha256) algorithm=RSASSA_PKCS1_V1_5_SHA_256 ;;
*) echo "$0: the scheme is not supported" >&2; exit 1 ;;
esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ask .payload_b64 | openssl base64 -d -A | openssl dgst "-sha${algorithm##*_}" -binary >"$folder/digest"
aws kms sign --key-id "$key" --signing-algorithm "$algorithm" --message-type DIGEST \
    --message "fileb://$folder/digest" --output json |
    jq -r .Signature | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n' | jq -Rsc '{sig: .}'
