#!/usr/bin/env bash
# The GPU suite: what a GPU measures and trains in fifteen minutes, without a network.
#
#   tools/gpu_suite.sh pack DATA WEIGHTS TEACHER   here: .gpu/1.tar … .gpu/5.tar, at most 55 MB each
#   tools/gpu_suite.sh check                       there, with 1.tar: throughput, and how many train at once
#   tools/gpu_suite.sh start [SCALE [GRID:N]...]   there, with 2.tar: grids train, N runs at once; gpu tests
#   tools/gpu_suite.sh add                         there, with 3.tar … 5.tar: CIFAR-100 follows
#   tools/gpu_suite.sh collect SECONDS             there: waits, returns what there is
#   tools/gpu_suite.sh keep FOLDER                 here: run folders into runs/; then, for each grid,
#                                                  reid-dhm experiment runs/grids/GRID.yaml evaluates them
#
# "There" is a checkout of this repository on a machine with PyTorch; the archives lie in its .gpu and
# may come and go: each command unpacks what it finds into SUITE_WORK (/tmp/gpu_suite). Trainings run in
# the background between the commands. DATA holds Market-1501-v15.09.15 and CIFAR-100; WEIGHTS are
# MobileNetV2's of ImageNet; TEACHER is the .npz that `reid-dhm embed` wrote of Market-1501's training
# images. SCALE multiplies the epochs of the longer grids. By default those of PEOPLE below train, which
# took ten minutes of a large GPU at SCALE 0.4; name others for the next time. Results go to $OUT
# (gpu_out): logs, figures, best weights in half precision. SUITE_REHEARSAL=1 packs a few people and trains one epoch of each.
# Grids: docs/results/grids/gpu.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WORK=${SUITE_WORK:-/tmp/gpu_suite}
REHEARSAL=${SUITE_REHEARSAL:-0}
# Grids and trainings at once: a small network leaves most of a large GPU idle, but 14 processes that
# share its time train together only five times as fast as one alone.
PEOPLE=(market1501_methods:9 model:4)
CIFAR=cifar100_resnet32:3
FIXED="market1501_methods market1501_options" # their epochs are not scaled

fail() { echo "error: $*" >&2; exit 1; }

# --- here -------------------------------------------------------------------------------------

pack() {
  python3 - "$ROOT" "${1:?"the folder of the datasets"}" "${2:?"weights of MobileNetV2"}" \
    "${3:?"the teacher's .npz"}" "$REHEARSAL" <<'PY'
import io, re, subprocess, sys, tarfile, zipfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

root, data, weights, teacher, few = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5], sys.argv[5] == "1"
out = root / ".gpu"
out.mkdir(exist_ok=True)
market, cifar = data / "Market-1501-v15.09.15", data / "CIFAR-100"


def person(file):
    return re.match(r"-?\d+", file.name)[0]


def images(folder, people=None):
    files = sorted(folder.glob("*.jpg"))
    kept = sorted({person(file) for file in files if not person(file).startswith("-")})[:people]
    return [file for file in files if person(file) in set(kept)]  # without junk


def write(number, files, further=()):
    path = out / f"{number}.tar"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for file, name in files:
            archive.add(file, name)
        for name, content in further:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def named(files, folder):
    return [(file, f"data/{folder}/{file.parent.name}/{file.name}") for file in files]


site = []  # pure Python packages that the bare machine lacks, from this environment
for name in ("omegaconf", "torchreid", "gdown", "beautifulsoup4", "soupsieve"):
    for file in distribution(name).files or ():
        source = Path(file.locate())
        if ".." not in file.parts and source.suffix not in (".pyc", ".so") and source.is_file():
            site.append((source, f"site/{file}"))
wheels = out / "wheels"  # a typer that needs nothing which the machine lacks
subprocess.run(
    [sys.executable, *"-m pip download -q --no-deps typer==0.21.1 -d".split(), wheels], check=True
)
for wheel in wheels.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheels / "site")
site += [(f, f"site/{f.relative_to(wheels / 'site')}") for f in (wheels / "site").rglob("*") if f.is_file()]
code = subprocess.run(["git", "-C", root, "archive", "HEAD"], check=True, capture_output=True).stdout
train = images(market / "bounding_box_train", 40 if few else None)
shown = {person(file) for file in images(market / "query", 10)}
test = [file for name in ("query", "bounding_box_test") for file in images(market / name)]
first = [file for file in test if person(file) in shown]
write(1, [*named([*train, *first], market.name), (weights, "weights.pt"), *site], [("code.tar", code)])

with np.load(teacher, allow_pickle=False) as arrays:
    buffer = io.BytesIO()
    halves = arrays["embeddings"].astype(np.float16)
    np.savez(buffer, embeddings=halves, paths=arrays["paths"])
rest = [] if few else [file for file in test if person(file) not in shown]
write(2, named(rest, market.name), [("teacher.npz", buffer.getvalue())])

classes = sorted((cifar / "train").iterdir())[: 4 if few else None]
pictures = [
    (file, f"data/CIFAR-100/{split}/{kind.name}/{file.name}")
    for split in ("train", "test")
    for kind in classes
    for file in sorted((cifar / split / kind.name).iterdir())[: 40 if few else None]
]
for part in range(3):
    write(3 + part, pictures[part::3])
PY
}

keep() {
  local folder=${1:?"the folder of what was returned"}
  [ -e "$folder/runs.tar.gz.00" ] || fail "$folder holds no runs.tar.gz.00: give what collect returned"
  mkdir -p "$ROOT/runs"
  cat "$folder"/runs.tar.gz.* | tar xz -C "$ROOT/runs" --strip-components=1
  mkdir -p "$ROOT/runs/grids"
  tar xzf "$folder/logs.tar.gz" -C "$ROOT/runs/grids"
  ls "$ROOT/runs" "$ROOT/runs/grids"
}

# --- there ------------------------------------------------------------------------------------

unpack() {
  mkdir -p "$WORK"
  local archive
  for archive in "$ROOT"/.gpu/*.tar; do
    [ -e "$archive" ] || continue
    [ -e "$WORK/.$(basename "$archive")" ] || tar xf "$archive" -C "$WORK"
    touch "$WORK/.$(basename "$archive")"
  done
  [ -e "$WORK/code.tar" ] || fail "no .gpu/1.tar was unpacked here: tools/gpu_suite.sh pack DATA WEIGHTS TEACHER"
  [ -d "$WORK/code" ] || { mkdir "$WORK/code" && tar xf "$WORK/code.tar" -C "$WORK/code"; }
  export PYTHONPATH=$WORK/code:$WORK/site PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3
  cd "$WORK"
  [ ! -d mps ] || use_mps
}

use_mps() {
  export CUDA_MPS_PIPE_DIRECTORY=$WORK/mps CUDA_MPS_LOG_DIRECTORY=$WORK/mps
  pgrep -f nvidia-cuda-mps-control > /dev/null || nvidia-cuda-mps-control -d < /dev/null > mps/start.log 2>&1
}

# A short training of several networks at once: pictures per second of all together.
crowd() {
  local name=$1 count=$2 number
  mkdir -p crowd
  for number in $(seq "$count"); do
    OMP_NUM_THREADS=1 timeout 70 python3 -m reid_dhm train market1501_mobilenetv2_cpu data.root=data model.weights=null \
      train.epochs=1 train.warmup_epochs=0 "train.precision=$PRECISION" "output=crowd/${name}_$number" \
      "${SMALL[@]}" > "crowd/${name}_$number.log" 2>&1 &
  done
  wait
  cat crowd/"${name}"_*/metrics.jsonl | python3 -c '
import json, sys
rates = [json.loads(line)["train/pictures_per_second"] for line in sys.stdin]
print(f"'"$name"': {len(rates)} at once, {sum(rates):.0f} pictures a second together, {min(rates):.0f} to {max(rates):.0f}")
open("crowd_'"$name"'", "w").write(str(sum(rates)))'
}

check() {
  nvidia-smi 2>/dev/null | head -15 || true
  python3 - <<'PY'
import torch, torchvision
print("torch", torch.__version__, torchvision.__version__)
open("device", "w").write("cuda:0" if torch.cuda.is_available() else "cpu")
PY
  SMALL=()
  local few=() sizes=()
  if [ "$REHEARSAL" = 1 ]; then
    SMALL=("model.size=[64, 32]")
    few=("model.size=[64, 32]" --steps 2 --rounds 1)
    sizes=(--queries 100 --gallery 1000 --rounds 1)
  fi
  local precision
  for precision in no bf16; do
    timeout 60 python3 -m reid_dhm benchmark train market1501_mobilenetv2_dhm model.weights=null \
      train.precision=$precision --rounds 2 "${few[@]}" --json "$OUT/train_$precision.json" | tail -12 ||
      echo "throughput ($precision) failed"
  done
  PRECISION=$(python3 - "$OUT" <<'PY'
import json, sys
rate = {}
for name in ("no", "bf16"):
    try:
        rate[name] = json.load(open(f"{sys.argv[1]}/train_{name}.json"))["training"]["ours"]["dhm"]
    except (OSError, ValueError, KeyError):
        rate[name] = 0.0
print(max(rate, key=rate.get))
PY
  )
  echo "$PRECISION" > precision
  echo "precision of the trainings: $PRECISION"
  crowd alone 1
  crowd plain "$([ "$REHEARSAL" = 1 ] && echo 2 || echo 14)"
  # with NVIDIA's multi-process service, where there is one, kernels of several processes overlap
  if command -v nvidia-cuda-mps-control > /dev/null; then
    mkdir -p mps
    if use_mps && timeout 30 python3 -c 'import torch; torch.ones(1, device="cuda").sum().item()'; then
      crowd mps 14
    fi
    python3 - <<'PY' || { echo quit | nvidia-cuda-mps-control; unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY; mv mps mps_off; }
from pathlib import Path
raise SystemExit(not Path("crowd_mps").is_file() or float(Path("crowd_mps").read_text()) < float(Path("crowd_plain").read_text()))
PY
  fi
  timeout 40 python3 -m reid_dhm benchmark rank "${sizes[@]}" --json "$OUT/rank.json" | tail -12 || echo "counting failed"
  timeout 40 python3 -m reid_dhm benchmark embed mobilenet_v2 --seconds 1 --rounds 2 --num-images 512 \
    --json "$OUT/embed.json" | tail -12 || echo "embedding failed"
  python3 -c 'import faiss; print("faiss", faiss.__version__, faiss.get_num_gpus(), "GPUs")' ||
    echo "FAISS is not installed here: not measured"
}

# A grid (name:runs at once), its epochs scaled.
grid() {
  export FIXED
  OMP_NUM_THREADS=1 setsid nohup python3 - "${1%:*}" "${1#*:}" "$(cat scale)" "$(cat precision)" "$(cat device)" "$REHEARSAL" \
    > "${1%:*}.log" 2>&1 <<'PY' &
import os
import sys
from pathlib import Path

import yaml

from reid_dhm.config import load_config
from reid_dhm.config.reading import find_config
from reid_dhm.experiments.grid.plan import read_plan
from reid_dhm.experiments.grid.runner import run_all

name, count, scale, precision, device, few = sys.argv[1:]
content = yaml.safe_load(Path(f"code/docs/results/grids/gpu/{name}.yaml").read_text())
given = content["set"]
train = load_config(find_config(content["config"])).train
epochs = given.get("train.epochs", train.epochs)
by = 1 / epochs if few == "1" else 1.0 if name in os.environ["FIXED"].split() else float(scale)
given["train.epochs"] = max(1, round(epochs * by))
given["train.warmup_epochs"] = given.get("train.warmup_epochs", train.warmup_epochs) * by
milestones = given.get("train.milestones", train.milestones)
given["train.milestones"] = [max(1, round(milestone * by)) for milestone in milestones]
given["train.precision"] = precision
if few == "1":
    content["seeds"] = [0]
    given["model.size"] = [32, 32] if "cifar" in name else [64, 32]
file = Path(f"{name}.yaml")
file.write_text(yaml.safe_dump(content))
told = lambda event, run, text: print(event, run.folder.name, text, flush=True)
print(run_all(read_plan(file), [device] * int(count), told), flush=True)
PY
  echo "$! ${1%:*}" >> running
}

start() {
  echo "${1:-1}" > scale
  (cd code && setsid nohup timeout 200 python3 -m pytest -q -m gpu -p no:cacheprovider --continue-on-collection-errors \
    tests/data tests/retrieval tests/evaluation tests/inference > ../gpu_tests.log 2>&1 &)
  python3 - <<'PY'
import os, random, re
from pathlib import Path

# A split of the training people: 150 of them, one query a camera, are tested on.
source, target = Path("data/Market-1501-v15.09.15/bounding_box_train"), Path("data/validation/Market-1501-v15.09.15")
files = sorted(source.glob("*.jpg"))
people = sorted({file.name[:4] for file in files})
held = set(random.Random(0).sample(people, len(people) // 5))
asked = set()
for file in files:
    camera = (file.name[:4], re.search(r"_c(\d)", file.name)[1])
    split = "bounding_box_train"
    if file.name[:4] in held:
        split = "bounding_box_test" if camera in asked else "query"
        asked.add(camera)
    place = target / split / file.name
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        os.link(file, place)
PY
  local each grids=("${@:2}")
  [ ${#grids[@]} -gt 0 ] || grids=("${PEOPLE[@]}")
  for each in "${grids[@]}"; do grid "$each"; done
  sleep 5
  cat ./*.log
}

add() {
  [[ ! -e .3.tar || ! -e .4.tar || ! -e .5.tar ]] || grep -q " cifar100" running || grid "$CIFAR"
  tail -n 2 ./*.log
}

running() { awk '{print $1}' running | while read -r each; do kill -0 "$each" 2> /dev/null && echo "$each"; done; }

collect() {
  local each until=$(($(date +%s) + ${1:?"seconds to wait at most"}))
  while [ "$(date +%s)" -lt "$until" ] && [ -n "$(running)" ]; do sleep 1; done
  for each in $(running); do kill -- "-$each" 2> /dev/null || true; done # with its trainings
  sleep 1
  python3 - <<'PY'
import tarfile
from pathlib import Path

from reid_dhm.inference.default import write_slim

# Logs, and the main path of best weights in half precision: they are evaluated at home.
small = {"config.yaml", "metrics.jsonl", "data.json", "environment.json", "state.json"}
with tarfile.open("runs.tar.gz", "w:gz", compresslevel=1) as archive:
    for file in sorted(Path("runs").rglob("*")):
        if file.name in small or (file.suffix == ".log" and file.is_file()):
            archive.add(file)
    for file in sorted(Path("runs").glob("*/*/best.safetensors")):
        slim = Path("slim") / file
        slim.parent.mkdir(parents=True, exist_ok=True)
        write_slim(file, slim)
        archive.add(slim, file)
        archive.add(slim.with_suffix(".json"), file.with_suffix(".json"))
for file in [*Path().glob("*.log"), *Path().glob("*.txt")]:
    print(f"--- {file}\n" + file.read_text(errors="replace")[-600:])
PY
  split -b 15000000 -d runs.tar.gz "$OUT/runs.tar.gz."
  tar czf "$OUT/logs.tar.gz" ./*.log ./*.yaml
}

command=${1:-}
case $command in
  pack | keep) "$command" "${@:2}" ;;
  check | start | add | collect)
    OUT=$(mkdir -p "${OUT:-gpu_out}" && cd "${OUT:-gpu_out}" && pwd)
    begun=$(date +%s)
    unpack
    "$command" "${@:2}"
    echo "$command: $(($(date +%s) - begun)) s"
    ;;
  *) fail "${command:-no command} is not one of: pack, check, start, add, collect, keep" ;;
esac
