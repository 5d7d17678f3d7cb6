#!/usr/bin/env bash
# On a CUDA machine: benchmarks/gpu_check.sh OUT_DIR
# Builds the extension, runs every GPU test, compute-sanitizer on a small case and the short kernel benchmark, within ten
# minutes. Logs, CSV and plots go to OUT_DIR; the exit code is that of the first step that failed.
set -u
if [ $# -ne 1 ]; then
    echo "usage: $0 OUT_DIR" >&2
    exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH="$PWD:$PWD/python${PYTHONPATH:+:$PYTHONPATH}"
failed=0

step() { # name, seconds, command...
    local name=$1 limit=$2 begin=$SECONDS status
    shift 2
    timeout "$limit" "$@" >"$out/$name.log" 2>&1
    status=$?
    echo "$name: $([ $status -eq 0 ] && echo passed || echo "FAILED ($status)") in $((SECONDS - begin)) s" | tee -a "$out/summary.txt"
    if [ $status -ne 0 ]; then
        tail -n 15 "$out/$name.log"
        [ $failed -ne 0 ] || failed=$status
    fi
}

: >"$out/summary.txt"
nvidia-smi >"$out/nvidia-smi.txt" 2>&1
step build 150 env RLIVS_BUILD_CUDA=1 RLIVS_CUDA_ARCHS="${RLIVS_CUDA_ARCHS:-80;90}" "$python" setup.py build_ext --inplace
step environment 60 "$python" -c "import json, rlivs_kernels; print(json.dumps(rlivs_kernels.environment_report(), indent=1))"
step tests 200 "$python" -m pytest tests/rlivs_kernels -q -m gpu -p no:cacheprovider
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        step "$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 99 "$python" -m benchmarks.kernels.small_case
    done
else
    echo "memcheck, racecheck: left out, compute-sanitizer is not installed" | tee -a "$out/summary.txt"
fi
step benchmark 150 "$python" -m benchmarks.kernels.run --quick --seconds 0.2 --out "$out/kernels.csv"
step plots 30 "$python" -m benchmarks.kernels.plot "$out/kernels.csv" "$out"
exit $failed
