#!/usr/bin/env bash
# Trains ESAT-S and ESAT-XS as checkpoints/README.md says, one after the other on one GPU. With
# ABLATION=SEEDS it trains the rows of Table 2 in their place, for docs/results.md.
#
#   launch/train_small.sh DATA WORK [--config.key=value ...]
#
# DATA holds train/ (stills.jsonl, stills/, cutouts/, sequences/), val/ and
# dinov2_vits14_fp16.safetensors; cut-outs of the outlined photographs are added to train/cutouts/,
# so it must be writable. WORK receives the packed data and both runs; run it again and it
# goes on where it stopped. SETS (28) synthetic data sets are made at the same time, one a core, of
# SEQUENCES (60) videos each.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: launch/train_small.sh DATA WORK [--config.key=value ...]" >&2
  exit 2
fi
for part in train/stills.jsonl train/stills train/sequences val dinov2_vits14_fp16.safetensors; do
  [ -e "$1/$part" ] || { echo "error: $1/$part is not there; see the head of $0." >&2; exit 1; }
done
data=$(realpath "$1")
mkdir -p "$2"
work=$(realpath "$2")
shift 2
sets=${SETS:-28}
root=$work/packed

pack() { # ROOT NAME: what ROOT/sequences holds, as crops
  python -m launch.pack_dataset --config=configs/esat_vit_s224.py --max_target=72 \
    --root="$1" --dataset=folders --output="$root/$2" --num_workers=0
}

synthesise() { # NUMBER
  [ -e "$root/syn$1/done" ] && return
  JAX_PLATFORMS=cpu python -m launch.make_synthetic --output="$work/syn$1" --layout=folders \
    --sequences="${SEQUENCES:-60}" --frames=50 --images="$data/train" --seed=$((100 * $1))
  pack "$work/syn$1" "syn$1"
  rm -r "$work/syn$1"
  touch "$root/syn$1/done"
}

mkdir -p "$root"
ln -sfn "$data/val" "$root/val"
ln -sfn "$data/train/stills" "$root/stills"
cp "$data/train/stills.jsonl" "$root"
python -m launch.make_cutouts --root="$data/train"
jobs=()
for ((i = 0; i < sets; i++)); do
  synthesise "$i" >"$work/syn$i.log" 2>&1 &
  jobs+=($!)
done
pack "$data/train" sequences
for job in "${jobs[@]}"; do
  wait "$job" || { echo "making synthetic data failed: see $work/syn*.log" >&2; exit 1; }
done

names='"packed:sequences","stills_pseudo","stills_regions"' shares=30.0,20.0,20.0
for ((i = 0; i < sets; i++)); do
  names+=",\"packed:syn$i\""
  shares+=",$(python -c "print(30 / $sets)")"
done
common=(
  --config.pretrained="$data/dinov2_vits14_fp16.safetensors" --config.compute_dtype=bfloat16
  --config.data.root="$root" --config.data.datasets="($names)" --config.data.ratios="($shares)"
  --config.data.val_datasets='("folders:val",)' "$@"
)
if [ -n "${ABLATION:-}" ]; then
  exec python -m launch.ablation --table=2 --seeds="$ABLATION" --workdir="$work/ablation" \
    --config=configs/esat_vit_s224.py "${common[@]}"
fi
python -m launch.train --config=configs/esat_vit_s224.py --workdir="$work/esat_s" "${common[@]}"
python -m launch.train --config=configs/esat_vit_xs168.py --workdir="$work/esat_xs" "${common[@]}"
