#!/bin/bash
# Builds a docker archive of a small real image, named busybox, from Debian's busybox-static.
# Needs no container tool and no daemon: two layers, made with tar. Equal inputs give equal bytes.
#
# usage: tools/images/busybox.sh OUT.tar
set -euo pipefail

out=${1:?usage: $0 OUT.tar}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The host's own binary if it is Debian's static one, else the package's.
if dpkg-query -W -f '${db:Status-Status}' busybox-static 2>/dev/null | grep -qx installed; then
    busybox=/bin/busybox
else
    mkdir "$work/deb"
    (cd "$work/deb" && apt-get -qq download busybox-static && dpkg-deb -x ./*.deb .) || {
        echo "$0: cannot get the package busybox-static; run apt-get update first" >&2
        exit 1
    }
    busybox=$(find "$work/deb" -path '*bin/busybox' -type f)
fi
stamp=$(stat -c %Y "$busybox")
case $(dpkg --print-architecture) in
armhf) arch=arm ;;
i386) arch=386 ;;
*) arch=$(dpkg --print-architecture) ;;
esac

# pack DIR TAR: a reproducible layer, owned by root.
pack() {
    tar --create --file "$2" --directory "$1" --format=posix --sort=name --mtime="@$stamp" \
        --owner=root:0 --group=root:0 --numeric-owner \
        --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' .
}
digest() { sha256sum "$1" | cut -d ' ' -f 1; }

base=$work/base
mkdir -p "$base"/{bin,sbin,usr/bin,usr/sbin,etc,dev,proc,sys,run,root,tmp,home,var/log}
chmod 755 "$base"
chmod 700 "$base/root"
chmod 1777 "$base/tmp"
install -m 755 "$busybox" "$base/bin/busybox"
"$busybox" --list-full | while read -r applet; do
    [ -e "$base/$applet" ] || [ ! -d "$(dirname "$base/$applet")" ] || ln -s /bin/busybox "$base/$applet"
done
cat >"$base/etc/passwd" <<'EOF'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
EOF
cat >"$base/etc/group" <<'EOF'
root:x:0:
daemon:x:1:
www-data:x:33:
nogroup:x:65534:
EOF
pack "$base" "$work/base.tar"

web=$work/web
mkdir -p "$web/www"
chmod 755 "$web"
echo 'Hello from a pod.' >"$web/www/index.html"
pack "$web" "$work/web.tar"

# The shell stays: as the first process of its PID namespace httpd would never see SIGTERM.
read -r -d '' command <<'EOF' || true
echo "busybox: serving on port 80, $(cut -d ' ' -f 1 /proc/uptime) s after boot"
httpd -f -p 80 -h /www & trap "kill $!; exit 0" TERM INT; wait
EOF

created=$(date -u -d "@$stamp" +%Y-%m-%dT%H:%M:%SZ)
json() { printf '%s' "$1" | sed -e ':a;N;$!ba' -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\n/\\n/g'; }
cat >"$work/config.json" <<EOF
{"architecture": "$arch", "os": "linux", "created": "$created",
 "config": {"Cmd": ["sh", "-c", "$(json "$command")"],
  "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
  "ExposedPorts": {"80/tcp": {}}, "WorkingDir": "/", "StopSignal": "SIGTERM"},
 "rootfs": {"type": "layers",
  "diff_ids": ["sha256:$(digest "$work/base.tar")", "sha256:$(digest "$work/web.tar")"]},
 "history": [{"created": "$created", "created_by": "Debian busybox-static"},
  {"created": "$created", "created_by": "a page to serve"}]}
EOF

mkdir "$work/archive"
cd "$work/archive"
config=$(digest "$work/config.json").json
layers=("$(digest "$work/base.tar").tar" "$(digest "$work/web.tar").tar")
mv "$work/config.json" "$config"
mv "$work/base.tar" "${layers[0]}"
mv "$work/web.tar" "${layers[1]}"
printf '[{"Config": "%s", "RepoTags": ["busybox:latest"], "Layers": ["%s", "%s"]}]\n' \
    "$config" "${layers[@]}" >manifest.json
cd - >/dev/null
# Under its name only when it is whole; several runs may write the same name.
part=$(mktemp "$out.XXXXXX")
trap 'rm -rf "$work" "$part"' EXIT
tar --create --file "$part" --directory "$work/archive" --format=ustar --sort=name \
    --mtime="@$stamp" --owner=root:0 --group=root:0 --numeric-owner \
    "$config" "${layers[@]}" manifest.json
chmod 644 "$part"
mv "$part" "$out"
