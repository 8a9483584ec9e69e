#!/usr/bin/env bash
# Fuzzes every target for a while, one after the other, with the stable tool chain: libFuzzer brings its own main, and the
# compiler's coverage passes are unlocked by RUSTC_BOOTSTRAP. What is found new is kept in fuzz/found/, outside the corpus
# that the tests replay; a finding stops the run, and its input is named.
#
#   bash fuzz/run.sh [SECONDS] [TARGET…]     default: 300 seconds for each target
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=${1:-300}
shift || true
targets=("$@")
if ((${#targets[@]} == 0)); then
    for file in fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi
host=$(rustc -vV | sed -n 's/^host: //p')

export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16"
# a target named by its triple keeps build scripts and macros free of the coverage passes
cargo build --release --bins --target "$host"
built=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/$host/release

for target in "${targets[@]}"; do
    mkdir -p "found/$target"
    printf '\n=== %s for %d s\n' "$target" "$seconds"
    log=found/$target.log
    code=0
    "$built/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="found/$target-" "found/$target" "corpus/$target" >"$log" 2>&1 || code=$?
    grep -E '^(Done|SUMMARY|stat::number|stat::average|artifact)|panicked|assertion' "$log" || true
    if ((code != 0)); then
        echo "fuzz/run.sh: $target ended with exit code $code, see fuzz/$log" >&2
        exit 1
    fi
done
printf '\nno finding\n'
