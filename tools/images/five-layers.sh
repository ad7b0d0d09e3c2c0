#!/bin/bash
# Builds a docker archive of an image with six layers, named five-layers, that has what makes
# layers hard: whiteouts, an opaque directory, changes of type, hard links, devices, extended
# attributes and capabilities, set-id bits, odd names and a sparse file. On top of busybox, whose
# command it keeps. Needs root, buildah, libcap2-bin and attr; leaves nothing in /var/lib/containers.
#
# usage: tools/images/five-layers.sh OUT.tar
set -euo pipefail

if [ "${1:-}" != --build ]; then
    out=${1:?usage: $0 OUT.tar}
    work=$(mktemp -d)
    part=$(mktemp "$out.XXXXXX")
    trap 'rm -rf "$work" "$part"' EXIT
    "$(dirname "$0")/busybox.sh" "$work/busybox.tar"
    # In mounts of its own: what buildah mounts is gone with the process, whatever happens.
    unshare --mount --propagation private "$0" --build "$work"
    cat "$work/image.tar" >"$part"
    chmod 644 "$part"
    mv "$part" "$out"
    exit
fi

work=$(realpath "$2")
umask 022
# buildah caches in /var/lib/containers and /var/cache/containers whatever --root says.
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /var/cache

# overlay makes opaque directories. Where it cannot be stacked, vfs makes whiteouts instead.
driver=overlay
mkdir -p "$work/probe"/{lower,upper,work,merged}
if mount -t overlay overlay -o \
    "lowerdir=$work/probe/lower,upperdir=$work/probe/upper,workdir=$work/probe/work" \
    "$work/probe/merged" 2>/dev/null; then
    umount "$work/probe/merged"
else
    driver=vfs
fi
b() {
    # stderr has the progress of every blob; it is shown when something fails.
    buildah --root "$work/root" --runroot "$work/run" --storage-driver "$driver" "$@" \
        2>"$work/log" || { cat "$work/log" >&2; return 1; }
}

# layer NAME FROM: starts a layer on the image FROM and sets $root to its file tree.
layer() {
    name=$1
    container=$(b from "$2")
    root=$(b mount "$container")
}
commit() {
    b umount "$container" >/dev/null
    b commit --quiet --rm "$container" "$name" >/dev/null
}

layer three "docker-archive:$work/busybox.tar"
mkdir -p "$root"/srv/{kinds,names,owners,deep,"old directory"} "$root"/opt/{gone,replaced,kept}
cd "$root/srv/kinds"
echo 'one file, three names' >first
ln first second
ln first ../third
ln -s first soft
ln -s /etc/passwd absolute
ln -s nowhere/at/all dangling
ln -s loop loop
ln soft soft-too
mkfifo fifo
mknod character c 1 3
mknod block b 7 200
mknod high c 4095 1048575
: >empty
truncate -s 3M sparse
printf 'data' | dd of=sparse bs=1 seek=1500000 conv=notrunc status=none
head -c 300000 /dev/zero | tr '\0' 'x' >three-blocks
cp ../../bin/busybox with-capability
setcap cap_net_raw,cap_net_bind_service=+ep with-capability
setfattr -n user.colour -v green first
setfattr -n user.binary -v 0x00ff10 empty
cp ../../bin/busybox setuid
chmod 4755 setuid
echo x >setgid
chmod 2711 setgid
mkdir shared
chmod 3775 shared
cd ../names
touch -- ' ' '-rf' 'new
line' 'back\slash' 'quote"' 'ünïcode' $'not\xff\xfeutf8' '.hidden' '...' '*' 'a.wh.b' \
    "$(printf 'n%.0s' $(seq 255))"
cd ../owners
for id in 1 33 1000 65534 65535 65536 2000000000; do
    echo "$id" >"$id"
    chown "$id:$id" "$id"
done
ln -s x link
chown -h 12:34 link
cd ../deep
for _ in $(seq 40); do
    mkdir directory-with-a-name
    cd directory-with-a-name
done
echo bottom >file
cd "$root"
seq 1 2000 | (cd opt/kept && xargs touch)
for each in gone replaced; do
    mkdir -p "opt/$each/sub"
    echo old >"opt/$each/a"
    echo old >"opt/$each/sub/b"
done
touch -d '2001-02-03 04:05:06.789' srv/kinds/first
touch -d '1970-01-01 00:00:00 UTC' 'srv/old directory'
cd /
commit

layer four three
rm -rf "$root/opt/gone" "$root/opt/kept/7" "$root/srv/kinds/second"
# An opaque directory: none of what was in it before.
rm -rf "$root/opt/replaced"
mkdir -m 750 "$root/opt/replaced"
chown 1000:100 "$root/opt/replaced"
echo new >"$root/opt/replaced/new"
commit

layer five four
# Changes of type.
rm -rf "$root/srv/kinds/fifo" "$root/srv/kinds/shared" "$root/srv/kinds/soft"
mkdir "$root/srv/kinds/fifo"
echo 'a file now' >"$root/srv/kinds/shared"
mkdir "$root/srv/kinds/soft"
echo 'inside' >"$root/srv/kinds/soft/file"
# What is gone comes back, with something else in it.
mkdir "$root/opt/gone"
echo back >"$root/opt/gone/c"
commit

layer five-layers five
# Attributes only.
chmod 700 "$root/srv/owners"
chown 5:6 "$root/srv/names"
setfattr -n user.added -v later "$root/srv/kinds/empty"
setfattr -x user.colour "$root/srv/kinds/first"
touch -d '2010-10-10 10:10:10' "$root/opt/replaced"
rm "$root/opt/replaced/new"
echo 'again' >"$root/opt/replaced/a"
commit

b push --quiet five-layers "docker-archive:$work/image.tar:five-layers:latest"
# Before the caller removes the files.
umount -R -q -l "$work/root" || true
