#!/bin/sh
# The paper's training on one computer with eight GPUs: launch/a100x8.sh WORKDIR DATA [FLAG...]
# One process serves all GPUs; the same command goes on after a stop.
set -eu
if [ $# -lt 2 ]; then
  echo "usage: launch/a100x8.sh WORKDIR DATA [--config.key=value...]" >&2
  exit 2
fi
workdir=$1 data=$2
shift 2
cd "$(dirname "$0")/.."
# Ten processes a GPU read and crop, as in OSTrack.
exec python -m launch.train --config="${CONFIG:-configs/esat_vit_b384.py}" --workdir="$workdir" \
  --config.data.root="$data" --config.data.num_workers=80 "$@"
