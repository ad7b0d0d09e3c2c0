#!/bin/sh
# Run a fuzzer where it can change nothing of the machine: sandbox.sh DIRECTORY COMMAND...
# Only DIRECTORY, for the corpus and what crashes, and a new /mnt can be written.
set -eu
if [ "${1-}" != --inside ]; then
    exec unshare --mount --net --ipc --uts --pid --fork --kill-child "$0" --inside "$@"
fi
shift
directory=$1
shift
mount --make-rprivate /
mount --bind "$directory" "$directory"
mount -o remount,bind,ro /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs none /sys
mount -t tmpfs none /run
mount -t tmpfs none /mnt
mkdir /mnt/store
cd "$directory"
exec "$@"
