#!/usr/bin/env bash
# An S3 server for tests: one Ceph RADOS Gateway on the loopback interface, its objects in memory.
#
#   bash interop/bucket-server.sh install           Debian's packages, as root or with sudo
#   bash interop/bucket-server.sh start DIR [PORT]  starts it within half a minute; prints the variables to export
#   bash interop/bucket-server.sh stop DIR          ends it and removes DIR
#   bash interop/bucket-server.sh run CMD…          starts one, runs CMD with the variables set, stops it
#
# It is for tests only: everybody on this machine can read the keys below.
set -euo pipefail

readonly packages=(ceph-mon ceph-osd ceph-common radosgw curl)
readonly access_key=TUFREPOTEST secret_key=tuf-repo-test-secret bucket=tuf-repo-test

die() {
    printf 'bucket-server: %s\n' "$1" >&2
    exit 1
}

as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

install() {
    local program missing=
    for program in radosgw radosgw-admin ceph ceph-mon ceph-osd monmaptool curl; do
        command -v "$program" >/dev/null || missing=1
    done
    [[ -n $missing ]] || return 0
    local get=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}")
    # the lists of a fresh machine may be missing or old
    as_root "${get[@]}" >/dev/null || { as_root apt-get update -qq && as_root "${get[@]}" >/dev/null; }
}

# Prints each variable that a client of the server at a port needs.
variables() {
    printf 'TUF_TEST_BUCKET=s3://%s\nTUF_TEST_BUCKET_URL=http://127.0.0.1:%s/%s\n' "$bucket" "$1" "$bucket"
    printf 'AWS_ENDPOINT_URL=http://127.0.0.1:%s\nAWS_ALLOW_HTTP=true\nAWS_REGION=us-east-1\n' "$1"
    printf 'AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n' "$access_key" "$secret_key"
}

# Waits up to so many seconds for a command to succeed.
wait_for() {
    local seconds=$1 end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || die "no success after $seconds s: $*"
        sleep 0.3
    done
}

configure() {
    local port=$1 monitor=$2
    cat <<CONF
[global]
fsid = $(</proc/sys/kernel/random/uuid)
mon_initial_members = a
mon_host = [v1:127.0.0.1:$monitor]
public_addr = 127.0.0.1
ms_bind_ipv6 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = true
mon_allow_pool_size_one = true
mon_data_avail_warn = 2
mon_data_avail_crit = 1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 2147483648
mon_data = $PWD/mon
osd_data = $PWD/osd
run_dir = $PWD
pid_file = $PWD/\$name.pid
log_file = $PWD/\$name.log
admin_socket = $PWD/\$name.asok
rgw_frontends = beast endpoint=127.0.0.1:$port
CONF
}

start() {
    local port=${2:-7490} fsid disk
    mkdir -p "$1"
    cd "$1"
    ls ./*.pid >/dev/null 2>&1 && die "$PWD has a server already"
    rm -rf mon osd
    mkdir mon osd
    configure "$port" $((port + 1)) >ceph.conf
    fsid=$(sed -n 's/^fsid = //p' ceph.conf)
    disk=$(</proc/sys/kernel/random/uuid)
    # what stays in the background has no hold on a pipe that somebody reads to its end
    (
        monmaptool --create --clobber --fsid "$fsid" --addv a "[v1:127.0.0.1:$((port + 1))]" monmap
        ceph-mon -c ceph.conf -i a --mkfs --monmap monmap
        ceph-mon -c ceph.conf -i a
        # with a name of its own it is made once, however often that is asked
        wait_for 60 timeout 20 ceph -c ceph.conf osd create "$disk" 0
        ceph-osd -c ceph.conf -i 0 --mkfs --osd-uuid "$disk"
        # now and then it does not know the monitor yet, and gives up
        wait_for 30 ceph-osd -c ceph.conf -i 0
        timeout 20 ceph -c ceph.conf osd crush add osd.0 1 root=default host=here
        radosgw -c ceph.conf -n client.rgw.a
        wait_for 60 curl -fs "http://127.0.0.1:$port/"
    ) >start.log 2>&1 </dev/null || die "it does not start: $(tail -n 1 start.log)"
    timeout 30 radosgw-admin -c ceph.conf user create --uid=tuf-repo --display-name=tuf-repo \
        --access-key="$access_key" --secret-key="$secret_key" >user.log 2>&1 || die "no user: $(tail -n 1 user.log)"
    make_bucket "http://127.0.0.1:$port/$bucket" || die "no bucket"
    variables "$port"
}

# Makes the bucket, whose objects everybody may read.
make_bucket() {
    local policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
        "Action":"s3:GetObject","Resource":"arn:aws:s3:::'$bucket'/*"}]}'
    signed_put "$1" "" && signed_put "$1?policy=" "$policy"
}

signed_put() {
    curl -fsS -X PUT --data-binary "$2" --aws-sigv4 aws:amz:us-east-1:s3 --user "$access_key:$secret_key" \
        -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$1"
}

stop() {
    local file pid
    for file in "$1"/*.pid; do
        [[ -e $file ]] || continue
        pid=$(<"$file")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 20); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        # what is in memory is lost anyhow
        kill -9 "$pid" 2>/dev/null || true
    done
    rm -rf "$1"
}

run() {
    local variable attempt
    dir=$(mktemp -d)
    trap 'stop "$dir/server"; rm -rf "$dir"' EXIT
    # it has been seen not to come up on a busy machine
    for attempt in 1 2 3; do
        if (start "$dir/server") >"$dir/variables"; then break; fi
        stop "$dir/server"
        ((attempt < 3)) || exit 1
    done
    while read -r variable; do export "${variable?}"; done <"$dir/variables"
    "$@"
}

case ${1:-} in
    install) install ;;
    start) start "${2:?a folder for its files}" "${3:-}" ;;
    stop) stop "${2:?the folder it was started with}" ;;
    run) shift; run "$@" ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
