#!/bin/bash
# Training on several computers, one process each: sbatch --nodes=2 launch/slurm.sh WORKDIR DATA
# Both folders must be seen by all of them. SLURM's SIGTERM before the time limit saves the run;
# submit the same command, or let SLURM requeue it, to go on.
#SBATCH --job-name=esat
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -eu
if [ $# -lt 2 ]; then
  echo "usage: sbatch --nodes=N launch/slurm.sh WORKDIR DATA [--config.key=value...]" >&2
  exit 2
fi
workdir=$1 data=$2
shift 2
cd "${SLURM_SUBMIT_DIR:-.}"
# jax.distributed finds the address, the number and the index of the processes in SLURM's variables.
exec srun --kill-on-bad-exit=1 python -m launch.train --distributed \
  --config="${CONFIG:-configs/esat_vit_b384.py}" --workdir="$workdir" \
  --config.data.root="$data" --config.data.num_workers=80 "$@"
