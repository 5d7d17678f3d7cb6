#!/usr/bin/env bash
# On a CUDA machine: benchmarks/gpu_check.sh OUT_DIR
# Builds the extension, runs every GPU test, the short kernel benchmark and compute-sanitizer on a small case, in less
# than ten minutes and without a network. OUT_DIR gets summary.txt (a line a step), log.txt (what the steps printed),
# kernels.csv and its plots. A failing step stops none of the others; the exit code is that of the first one.
# PYTHON: the interpreter, default python3. JOBS: processes side by side, default all cores but two. SECONDS_IN_ALL: 560.
# STEPS: these steps only, by name. With a GPU for 30 minutes, calls in this order, ten minutes each at most:
#   STEPS="build environment tests wrong-kernels", STEPS="model-tests stream-tests" where time is left;
#   python3 -m benchmarks.pipeline.run; STEPS="build benchmark plots"; python3 -m benchmarks.kernels.tune last.
# COMMIT: named in the results where there is no repository.
set -u
if [ $# -ne 1 ]; then
    echo "usage: $0 OUT_DIR" >&2
    exit 2
fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
cores=$(env -u OMP_NUM_THREADS nproc)
jobs=${JOBS:-$((cores > 4 ? cores - 2 : 2))}
end=$((SECONDS + ${SECONDS_IN_ALL:-560}))
export PYTHONPATH="$PWD:$PWD/python${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export COMMIT=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null)} OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
unset TRITON_INTERPRET
failed=0

say() { echo "$*" | tee -a "$out/summary.txt"; }

step() { # name, most seconds, command...
    local name=$1 limit=$2 begin=$SECONDS status lines
    shift 2
    case " ${STEPS:-$name} " in *" $name "*) ;; *) return ;; esac
    [ $((end - SECONDS)) -ge "$limit" ] || limit=$((end - SECONDS))
    if [ "$limit" -lt 10 ]; then
        say "$name: LEFT OUT, no time is left"
        [ $failed -ne 0 ] || failed=124
        return
    fi
    printf '\n==== %s: %s\n' "$name" "$*" >>"$out/log.txt"
    lines=$(wc -l <"$out/log.txt")
    timeout -k 5 "$limit" "$@" >>"$out/log.txt" 2>&1
    status=$?
    case $status in
    0) say "$name: passed in $((SECONDS - begin)) s" ;;
    124 | 137) say "$name: FAILED, stopped after $((SECONDS - begin)) s" ;;
    *) say "$name: FAILED ($status) in $((SECONDS - begin)) s" ;;
    esac
    if [ $status -ne 0 ]; then
        tail -n "+$((lines + 1))" "$out/log.txt" | tail -n 25
        [ $failed -ne 0 ] || failed=$status
    fi
}

: >"$out/summary.txt"
: >"$out/log.txt"
gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
say "commit ${COMMIT:-unknown}, ${gpu:-no GPU that nvidia-smi sees}"

step build 150 env RLIVS_BUILD_CUDA=1 MAX_JOBS="${MAX_JOBS:-$cores}" "$python" setup.py build_ext --inplace
step environment 60 "$python" -c "import json, rlivs_kernels as k; r = k.environment_report(); print(json.dumps(r, indent=1)); assert r['gpus'] and r['cuda_extension']['built']"

pytest=("$python" -m pytest -v -p no:cacheprovider --continue-on-collection-errors)
if "$python" -c "import xdist" 2>/dev/null; then pytest+=(-n "$jobs" --dist loadgroup); fi
step tests 200 "${pytest[@]}" -m gpu tests/rlivs_kernels
step wrong-kernels 100 "${pytest[@]}" -m "gpu or not gpu" tests/rlivs_kernels/test_wrong_kernels.py
step benchmark 280 "$python" -m benchmarks.kernels.run --quick --seconds 0.2 --out "$out/kernels.csv"
step plots 30 "$python" -m benchmarks.kernels.plot "$out/kernels.csv" "$out" --launch graph
# Also compiles what the sanitizer watches, which would take it too long.
step small-case 90 "$python" -m benchmarks.kernels.small_case cuda triton

sanitizer=$(command -v compute-sanitizer || true)
for home in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda; do
    if [ -z "$sanitizer" ] && [ -n "$home" ]; then
        sanitizer=$(command -v "$home/bin/compute-sanitizer" || command -v "$home/compute-sanitizer/compute-sanitizer" || true)
    fi
done
if [ -n "$sanitizer" ]; then
    # An allocation a tensor, so that its end is watched; what torch's own calls return is not looked at.
    for backend in cuda triton; do
        for tool in memcheck racecheck; do
            step "$tool-$backend" 90 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$sanitizer" --tool "$tool" \
                $([ $tool = memcheck ] && echo --report-api-errors no) --error-exitcode 99 \
                "$python" -m benchmarks.kernels.small_case "$backend"
        done
    done
else
    say "memcheck, racecheck: LEFT OUT, compute-sanitizer is neither on PATH nor under CUDA_HOME"
    [ $failed -ne 0 ] || failed=127
fi
step model-tests 200 "${pytest[@]}" tests/rlivs/scoring/test_gpu.py tests/rlivs/decoding/test_cuda_graph.py
if "$python" -c "import av, pydantic" 2>/dev/null; then
    step stream-tests 200 "${pytest[@]}" tests/rlivs/streaming/test_{on_a_gpu,ahead}.py tests/rlivs/live/test_on_a_gpu.py
else
    say "stream-tests: LEFT OUT, av or pydantic is not installed"
fi
say "$([ $failed -eq 0 ] && echo "all passed" || echo "FAILED") after $SECONDS s"
exit $failed
