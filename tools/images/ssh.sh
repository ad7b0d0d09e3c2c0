#!/bin/bash
# Builds a docker archive of an image with an ssh server, named ssh: busybox, and from Debian's
# packages dropbear, curl and lsblk with the libraries that they need. Who may log in as root says
# the metadata service. For trying and testing: sudo in it is for show.
# Needs no container tool. Equal inputs give equal bytes.
#
# usage: tools/images/ssh.sh OUT.tar
set -euo pipefail

out=${1:?usage: $0 OUT.tar}
programs=(/usr/sbin/dropbear /usr/bin/dropbearkey /usr/bin/dbclient /usr/bin/curl /usr/bin/lsblk)
for program in "${programs[@]}"; do
    [ -x "$program" ] || {
        echo "$0: there is no $program; install the packages dropbear-bin, curl and util-linux" >&2
        exit 1
    }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$(dirname "$0")/busybox.sh" "$work/busybox.tar"
mkdir "$work/archive" "$work/layer"
tar --extract --file "$work/busybox.tar" --directory "$work/archive"
stamp=$(stat -L -c %Y "${programs[0]}")

cd "$work/layer"
install -D -t usr/sbin "${programs[0]}"
install -D -t usr/bin "${programs[@]:1}"
# The libraries where ldd(1) finds them, the loader of programs among them.
ldd "${programs[@]}" | grep -o '/[^ :]*\.so[^ :]*' | sort -u | while read -r library; do
    install -D "$library" ".$library"
done
mkdir -p etc/dropbear mnt
# No password opens, until one is set.
(umask 077 && echo 'root:*:19000:0:99999:7:::' >etc/shadow)
install -d -m 700 root/.ssh
# The static busybox crashes in wget once there are libraries of glibc that it finds.
touch usr/bin/.wh.wget

cat >usr/sbin/authorize <<'EOF'
#!/bin/sh
# Adds the server's key pair to those who may log in as root: the metadata service has it as soon
# as the network is there, or never, when the server was made without one.
key=http://169.254.169.254/latest/meta-data/public-keys/0/openssh-key
keys=/root/.ssh/authorized_keys
for try in $(seq 60); do
    status=$(curl -s -m 5 -o /root/.ssh/fetched -w '%{http_code}' "$key")
    if [ "$status" = 200 ]; then
        # A server that boots again has it already.
        grep -qxFf /root/.ssh/fetched $keys 2>/dev/null ||
            echo "$(cat /root/.ssh/fetched)" >>$keys
        echo "ssh: key pair taken from the metadata service at try $try"
        break
    fi
    if [ "$status" = 404 ]; then
        echo "ssh: the server has no key pair"
        break
    fi
    sleep 1
done
rm -f /root/.ssh/fetched
EOF

cat >usr/sbin/serve-ssh <<'EOF'
#!/bin/sh
# The image's command: tells about the pod on its console, and serves ssh as PID 1.
host_key=/etc/dropbear/dropbear_ed25519_host_key
[ -s $host_key ] || dropbearkey -t ed25519 -f $host_key >/dev/null 2>&1
echo "ssh: $(hostname), $(cut -d ' ' -f 1 /proc/uptime) s after boot"
ip addr
ip route
free
df
authorize &
# In the foreground (-F), with a word about each login on the console (-E).
exec dropbear -F -E -r $host_key -p 22
EOF

# Whoever logs in is root already.
cat >usr/bin/sudo <<'EOF'
#!/bin/sh
exec "$@"
EOF
chmod 755 usr/sbin/authorize usr/sbin/serve-ssh usr/bin/sudo

# As busybox.sh packs its layers.
tar --create --file "$work/layer.tar" --directory "$work/layer" --format=posix --sort=name \
    --mtime="@$stamp" --owner=root:0 --group=root:0 --numeric-owner \
    --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' .

python3 - "$work" "$stamp" <<'EOF'
import hashlib
import json
import pathlib
import sys
import time

work, stamp = pathlib.Path(sys.argv[1]), int(sys.argv[2])
archive = work / "archive"
manifest = json.loads((archive / "manifest.json").read_text())
base = archive / manifest[0]["Config"]
image = json.loads(base.read_text())
layer = work / "layer.tar"
digest = hashlib.sha256(layer.read_bytes()).hexdigest()
layer.rename(archive / f"{digest}.tar")

image["config"]["Cmd"] = ["/usr/sbin/serve-ssh"]
image["config"]["ExposedPorts"] = {"22/tcp": {}}
image["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp))
image["rootfs"]["diff_ids"].append(f"sha256:{digest}")
image["history"].append({"created": image["created"], "created_by": "an ssh server"})
base.unlink()
text = json.dumps(image).encode()
name = f"{hashlib.sha256(text).hexdigest()}.json"
(archive / name).write_bytes(text)

manifest[0]["Config"] = name
manifest[0]["RepoTags"] = ["ssh:latest"]
manifest[0]["Layers"].append(f"{digest}.tar")
(archive / "manifest.json").write_text(json.dumps(manifest))
EOF

cd - >/dev/null
# Under its name only when it is whole; several runs may write the same name.
part=$(mktemp "$out.XXXXXX")
trap 'rm -rf "$work" "$part"' EXIT
tar --create --file "$part" --directory "$work/archive" --format=ustar --sort=name \
    --mtime="@$stamp" --owner=root:0 --group=root:0 --numeric-owner .
chmod 644 "$part"
mv "$part" "$out"
