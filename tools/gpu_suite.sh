#!/usr/bin/env bash
# The GPU suite: steps of under four minutes for a bare machine with PyTorch and no network.
#
#   tools/gpu_suite.sh list                        the steps, by rising cost
#   tools/gpu_suite.sh pack STEP DATA [WEIGHTS]    here: .gpu/STEP.tar.gz.NNofMM, at most 50 MB each
#   tools/gpu_suite.sh run STEP                    there, in a checkout with .gpu or an unpacked archive
#   tools/gpu_suite.sh keep STEP FOLDER            here: keep what a run returned, for the next pack
#
# DATA holds Market-1501-v15.09.15 and CIFAR-100; WEIGHTS are MobileNetV2's of ImageNet. Without a
# checkout there:  cat STEP.tar.gz.* | tar xz -C DIR && bash DIR/code/tools/gpu_suite.sh run STEP
# Results go to $OUT (default: gpu_out): logs, figures as JSON, best weights, and what is needed to go
# on. SUITE_SECONDS (220) bounds a step; SUITE_REHEARSAL=1 packs a few people and trains one epoch.
set -euo pipefail
STEPS=(check first methods osnet cifar_resnet32 cifar_wrn16_8)
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SECONDS_ALLOWED=${SUITE_SECONDS:-220}
REHEARSAL=${SUITE_REHEARSAL:-0}
PART=50000000
STATE=55000000 # bytes of unfinished training that are returned
STARTED=$(date +%s)
SMALL= # a smaller input, in rehearsals

fail() { echo "error: $*" >&2; exit 1; }
left() { echo $((SECONDS_ALLOWED - ($(date +%s) - STARTED))); }

# --- here -------------------------------------------------------------------------------------

pack() {
  local step=$1 data=${2:?"the folder of the datasets"} weights=${3:-}
  local scratch
  scratch=$(mktemp -d)
  mkdir -p "$scratch/code" "$scratch/data" "$scratch/runs" "$ROOT/.gpu"
  git -C "$ROOT" archive HEAD | tar x -C "$scratch/code"
  rm -rf "$scratch/code/docs/images" "$scratch/code/docs/results/images"
  python3 - "$scratch" "$step" "$data" "$REHEARSAL" <<'PY'
import re, shutil, sys
from importlib.metadata import distribution
from pathlib import Path

target, step, data, few = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4] == "1"

# Pure Python packages that the bare machine lacks, from this environment.
for name in ("omegaconf", "torchreid", "gdown", "beautifulsoup4", "soupsieve"):
    for file in distribution(name).files or ():
        source = Path(file.locate())
        if ".." in file.parts or source.suffix in (".pyc", ".so") or not source.is_file():
            continue
        place = target / "site" / str(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def copy(files, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)


def person(file):
    return re.match(r"-?\d+", file.name)[0]


if step.startswith("cifar"):
    for split in ("train", "test"):
        for kind in sorted((data / "CIFAR-100" / split).iterdir())[: 10 if few else None]:
            images = sorted(kind.iterdir())[: 40 if few else None]
            copy(images, target / "data" / "CIFAR-100" / split / kind.name)
elif step != "check":
    # All training people; of the test people fifty, to see that evaluation runs: best weights are
    # evaluated on the whole set at home, and nothing is chosen by these fifty.
    source, place = data / "Market-1501-v15.09.15", target / "data" / "Market-1501-v15.09.15"
    train = sorted((source / "bounding_box_train").glob("*.jpg"))
    if few:
        kept = set(sorted({person(file) for file in train})[:24])
        train = [file for file in train if person(file) in kept]
    copy(train, place / "bounding_box_train")
    query = sorted((source / "query").glob("*.jpg"))
    shown = set(sorted({person(file) for file in query})[: 10 if few else 50])
    copy((file for file in query if person(file) in shown), place / "query")
    gallery = sorted((source / "bounding_box_test").glob("*.jpg"))
    copy((file for file in gallery if person(file) in shown), place / "bounding_box_test")
PY
  # a typer that needs nothing which the machine lacks; further wheels may lie in .gpu/wheels
  python3 -m pip download -q --no-deps -d "$ROOT/.gpu/wheels" typer==0.21.1 ||
    echo "typer 0.21.1 could not be fetched: the machine's own is used"
  for wheel in "$ROOT"/.gpu/wheels/*.whl; do
    [ ! -e "$wheel" ] || python3 -m zipfile -e "$wheel" "$scratch/site"
  done
  [ -z "$weights" ] || cp "$weights" "$scratch/weights.pt"
  [ ! -d "$ROOT/.gpu/state/$(runs_of "$step")" ] || cp -r "$ROOT/.gpu/state/$(runs_of "$step")" "$scratch/runs/"
  # weights of evaluated runs stay at home, and come back no second time
  for run in "$scratch"/runs/*/*/; do
    [ ! -f "$run/per_query.npz" ] || { rm -f "$run/best.safetensors"; touch "$run/.carried"; }
  done
  rm -f "$ROOT/.gpu/$step".tar.gz.*
  tar czf "$scratch.tar.gz" -C "$scratch" .
  split -b $PART -d "$scratch.tar.gz" "$ROOT/.gpu/$step.tar.gz."
  local parts=("$ROOT/.gpu/$step".tar.gz.*)
  for part in "${parts[@]}"; do mv "$part" "${part}of$(printf %02d ${#parts[@]})"; done
  rm -rf "$scratch" "$scratch.tar.gz"
  ls -l "$ROOT/.gpu/$step".tar.gz.*
}

keep() {
  local step=$1 folder=${2:?"the folder of what a run returned"}
  mkdir -p "$ROOT/.gpu/state"
  cat "$folder/$step".runs.tar.gz.* | tar xz -C "$ROOT/.gpu/state"
  echo "kept in $ROOT/.gpu/state: $(ls "$ROOT/.gpu/state")"
}

# --- there ------------------------------------------------------------------------------------

runs_of() { case $1 in first | methods) echo methods ;; *) echo "$1" ;; esac; }

unpack() {
  local step=$1 parts total
  if [ -d "$ROOT/../site" ]; then WORK=$(cd "$ROOT/.." && pwd); return; fi
  WORK=$ROOT/.gpu/work/$step
  [ ! -d "$WORK/code" ] || return 0
  parts=("$ROOT/.gpu/$step".tar.gz.*of*)
  [ -e "${parts[0]}" ] || fail "no .gpu/$step.tar.gz.* here: tools/gpu_suite.sh pack $step DATA"
  total=$((10#${parts[0]##*of}))
  if [ ${#parts[@]} -lt $total ]; then
    echo "${#parts[@]} of $total parts are here: bring the others and run this step again"
    exit 0
  fi
  mkdir -p "$WORK"
  cat "${parts[@]}" | tar xz -C "$WORK"
}

reid() { # within what is left of the step
  local limit
  limit=$(left)
  [ "$limit" -gt 15 ] || { echo "no time left for: $*"; return 1; }
  (cd "$WORK" && timeout "$((limit - 10))" python3 -m reid_dhm "$@")
}

device() { python3 -c 'import torch; print("cuda:0" if torch.cuda.is_available() else "cpu")'; }

# grid STEP CONFIG 'SET (YAML)' 'GRID (YAML)' 'SEEDS': as many epochs as fit, the same when it goes on.
grid() {
  local name
  name=$(runs_of "$1")
  mkdir -p "$WORK/runs/$name"
  cat > "$WORK/$1.yaml" <<YAML
config: $2
output: runs/$name
set: {data.root: $([[ $1 == cifar* ]] && echo data/CIFAR-100 || echo data), train.precision: $PRECISION, $3$SMALL}
grid: $4
seeds: $5
YAML
  (cd "$WORK" && python3 - "$1" "runs/$name/epochs.txt" "$(($(left) - 50))" "$REHEARSAL" "$DEVICE" <<'PY'
import sys
from pathlib import Path

import yaml

from reid_dhm.experiments.grid.estimate import estimate
from reid_dhm.experiments.grid.plan import read_plan

step, kept, seconds, few, device = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
path = Path(f"{step}.yaml")
content = yaml.safe_load(path.read_text())
if not kept.is_file():
    plain = read_plan(path)
    whole = plain.runs[0].config.train.epochs
    each = estimate(plain, device, 1).total / whole  # seconds of one epoch of every run
    kept.write_text(str(1 if few == "1" else max(1, min(whole, int(float(seconds) / each)))))
epochs = int(kept.read_text())
plan = read_plan(path)
train = plan.runs[0].config.train
scale = epochs / train.epochs
content["set"] |= {
    "train.epochs": epochs,
    "train.evaluate_every": epochs,
    "train.warmup_epochs": train.warmup_epochs * scale,
    "train.milestones": [max(1, round(milestone * scale)) for milestone in train.milestones],
}
path.write_text(yaml.safe_dump(content))
print(f"{epochs} of {train.epochs} epochs, milestones {content['set']['train.milestones']}")
PY
  )
  local limit
  limit=$(left)
  timeout "$((limit > 35 ? limit - 20 : 15))" bash -c "cd '$WORK' && exec python3 -m reid_dhm experiment '$1.yaml' --devices $DEVICE --json '$OUT/$1.json'" ||
    echo "not finished within the step (exit code $?): keep what came back and run it again"
}

# What a run leaves, in parts of 15 MB: unfinished trainings with their state if it is small enough.
collect() {
  local name folder
  name=$(runs_of "$1")
  [ -d "$WORK/runs/$name" ] || return 0
  (cd "$WORK/runs" && python3 - "$name" "$STATE" <<'PY'
import json, sys, tarfile
from pathlib import Path

name, limit = sys.argv[1], int(sys.argv[2])
with tarfile.open("returned.tar.gz", "w:gz") as archive:
    for file in sorted(Path(name).rglob("*")):
        if not file.is_file() or "tensorboard" in file.parts or "last" in file.parts[:-1]:
            continue
        carried = (file.parent / ".carried").is_file()
        if not {"comparison", "report"} & set(file.parts) and not carried:
            archive.add(file)
    for folder in sorted(Path(name).glob("*/last")):
        if (folder.parent / ".carried").is_file():
            continue
        files = sorted(folder.iterdir())
        try:
            done = json.loads((folder / "state.json").read_text())["progress"]["epoch"]
        except (OSError, ValueError, KeyError):
            continue
        finished = done >= int(Path(name, "epochs.txt").read_text())
        size = sum(file.stat().st_size for file in files)
        if finished:
            archive.add(folder / "state.json")
        elif size < limit:
            limit -= size
            for file in files:
                archive.add(file)
        else:
            print(f"{folder}: {size >> 20} MB of state are not returned: this run starts again")
PY
  split -b 15000000 -d returned.tar.gz "$OUT/$1.runs.tar.gz." && rm returned.tar.gz)
  for folder in "$WORK/runs/$name"/*/; do
    [ ! -f "$folder/metrics.jsonl" ] || echo "$(basename "$folder"): $(tail -1 "$folder/metrics.jsonl" | cut -c1-300)"
  done
}

check() {
  nvidia-smi 2>/dev/null | head -15 || true
  python3 -c 'import torch, torchvision; print("torch", torch.__version__, torchvision.__version__)'
  local few=()
  [ "$REHEARSAL" != 1 ] || few=("model.size=[64, 32]" --steps 2 --rounds 1)
  (cd "$WORK/code" && timeout 90 python3 -m pytest -q -m gpu -p no:cacheprovider \
    --continue-on-collection-errors tests/data tests/retrieval tests/evaluation tests/inference \
    > "$OUT/gpu_tests.log" 2>&1) || echo "tests: see gpu_tests.log"
  tail -5 "$OUT/gpu_tests.log"
  for precision in no bf16; do
    reid benchmark train market1501_mobilenetv2_dhm model.weights=null train.precision=$precision "${few[@]}" \
      --json "$OUT/train_$precision.json" | tail -20 || echo "throughput ($precision) failed"
  done
  local sizes=()
  [ "$REHEARSAL" != 1 ] || sizes=(--queries 100 --gallery 1000 --rounds 1)
  reid benchmark rank "${sizes[@]}" --json "$OUT/rank.json" | tail -12 || echo "counting failed"
  [ "$(left)" -lt 40 ] || reid benchmark embed mobilenet_v2 --seconds 1 --rounds 2 --num-images 512 \
    --json "$OUT/embed.json" | tail -12 || echo "embedding failed"
  python3 -c 'import faiss; print("faiss", faiss.__version__, faiss.get_num_gpus(), "GPUs")' ||
    echo "FAISS is not installed here: not measured"
}

run() {
  local step=$1
  OUT=$(mkdir -p "${OUT:-gpu_out}" && cd "${OUT:-gpu_out}" && pwd)
  unpack "$step"
  export PYTHONPATH=$WORK/code:$WORK/site OUT PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3
  DEVICE=$(device)
  PRECISION=$([ "$DEVICE" = cpu ] && echo '"no"' || echo bf16)
  local weights="model.weights: null"
  [ "$REHEARSAL" != 1 ] || SMALL=", model.size: $([[ $step == cifar* ]] && echo '[32, 32]' || echo '[64, 32]')"
  [ ! -f "$WORK/weights.pt" ] || weights="model.weights: weights.pt"
  case $step in
    check) check ;;
    first) grid first market1501_mobilenetv2_dhm "$weights" '{method: [baseline, dhm]}' '[0]' ;;
    methods) grid methods market1501_mobilenetv2_dhm "$weights" '{method: [baseline, dsl, dhm]}' '[0, 1, 2]' ;;
    osnet) grid osnet market1501_osnet_dhm "model.weights: null" '{method: [baseline, dhm]}' '[0]' ;;
    cifar_*) grid "$step" "cifar100_${step#cifar_}_dhm" "train.diagnose_every: 0" '{method: [baseline, dsl, dhm]}' '[0]' ;;
  esac
  collect "$step"
  echo "$step: $(($(date +%s) - STARTED)) s; results in $OUT: $(ls "$OUT" | tr '\n' ' ')"
}

command=${1:-list}
case $command in
  list) printf '%s\n' "${STEPS[@]}" ;;
  pack | run | keep)
    [[ " ${STEPS[*]} " == *" ${2:-} "* ]] || fail "step ${2:-} is not one of: ${STEPS[*]}"
    "$command" "${@:2}"
    ;;
  *) fail "$command is not one of: list, pack, run, keep" ;;
esac
