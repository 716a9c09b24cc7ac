#!/usr/bin/env bash
# Run a command on a SLURM cluster of two nodes that exists for it alone: tests/study/slurm/cluster.sh COMMAND...
#
# Daemons, jobs, ports, sockets and /etc/slurm live in namespaces that end with the command, however it ends, and take
# all of it along. Nothing of a SLURM that this machine may have is read or changed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
stop() { printf 'tests/study/slurm/cluster.sh: %s\n' "$@" >&2; exit 2; }

if [ "${1:-}" != --inside ]; then
    [ $# -gt 0 ] || stop "name a command to run on the cluster"
    [ "$(id -u)" = 0 ] || stop "needs root, for namespaces and daemons: sudo $0 ..."
    for program in munged slurmctld slurmd sbatch; do
        command -v $program >/dev/null || stop "$program is missing (Debian: apt-get install slurm-wlm munge)"
    done
    exec unshare --mount --pid --net --fork --kill-child --mount-proc "$here/cluster.sh" --inside "$@"
fi
shift

# The configuration must be at its usual place: jobs lose the variable SLURM_CONF on their way.
ip link set lo up
ip address add 192.0.2.1/32 dev lo  # SLURM finds no address to listen on where 127.0.0.1 is the only one
mkdir -p /etc/slurm /etc/munge /run/munge /run/slurm
for folder in /etc/slurm /etc/munge /run/munge /run/slurm; do mount -t tmpfs -o mode=755 tmpfs $folder; done
cp "$here/slurm.conf" "$here/gres.conf" /etc/slurm/
mkdir /run/slurm/state /run/slurm/spool.n1 /run/slurm/spool.n2

(umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key)
munged --force --num-threads=2 --log-file=/run/munge/munged.log --seed-file=/run/munge/seed --pid-file=/run/munge/munged.pid
slurmctld
slurmd -N n1
slurmd -N n2
idle() { timeout 5 sinfo --noheader --Node --states=idle --partition=cpu 2>/dev/null | wc -l; }
for _ in $(seq 60); do
    [ "$(idle)" = 2 ] && break
    sleep 0.5
done
[ "$(idle)" = 2 ] || { tail -n 20 /run/slurm/*.log >&2; stop "the nodes did not come up (above are the logs)"; }
"$@"
