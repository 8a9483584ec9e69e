#!/bin/sh
# An exec: signer in front of `openssl pkeyutl`, for one private key in a file.
#
#   tuf-repo sign --key 'exec:examples/signers/openssl.sh ed25519 /media/usb/root.pem'
#
# The scheme is ed25519, rsassa-pss-sha256, rsa-pkcs1v15-sha256, ecdsa-sha2-nistp256 or ecdsa-sha2-nistp384.
# Tested with OpenSSL 3.0.
set -eu
scheme=$1
key=$2
read -r question

# The value of a text in the question. What is read here holds no quote and no backslash.
text() { printf '%s' "$question" | sed -n "s/.*\"$1\":\"\([^\"\\]*\)\".*/\1/p"; }
hexadecimal() { od -An -v -tx1 | tr -d ' \n'; }

if [ "$(text op)" = public ]; then
    case $scheme in
    ed25519)
        keytype=ed25519
        public=$(openssl pkey -in "$key" -pubout -outform DER | tail -c 32 | hexadecimal)
        ;;
    *)
        case $scheme in rsa*) keytype=rsa ;; *) keytype=ecdsa ;; esac
        public=$(openssl pkey -in "$key" -pubout | awk '{ printf "%s\\n", $0 }')
        ;;
    esac
    printf '{"keytype":"%s","scheme":"%s","keyval":{"public":"%s"}}\n' "$keytype" "$scheme" "$public"
    exit
fi

case $(text scheme) in
ed25519) options='' ;;
rsassa-pss-sha256) options='-digest sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest' ;;
rsa-pkcs1v15-sha256 | ecdsa-sha2-nistp256) options='-digest sha256' ;;
ecdsa-sha2-nistp384) options='-digest sha384' ;;
*)
    echo "$0: cannot sign by $(text scheme)" >&2
    exit 1
    ;;
esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
text payload_b64 | openssl base64 -d -A >"$folder/payload"
# shellcheck disable=SC2086 # the options are words
openssl pkeyutl -sign -rawin -inkey "$key" -in "$folder/payload" -out "$folder/sig" $options
printf '{"sig":"%s"}\n' "$(hexadecimal <"$folder/sig")"
