# Sourced by tools/quickstart.sh and tools/test.sh: from a bare Debian to a virtual environment.
#
# shellcheck shell=bash
# The caller sets HOME_DIR (where everything goes) and REPO (the checkout).

: "${HOME_DIR:?}" "${REPO:?}"
VENV=$HOME_DIR/venv
LOG=$HOME_DIR/log
POLICY=/usr/sbin/policy-rc.d

# What the caller's shell exports for other Pythons has no place here.
unset PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME VIRTUAL_ENV

BEGAN=$EPOCHREALTIME

# say TEXT...: with the time since the beginning, as the Python half says it.
say() {
    local tenths=$(((${EPOCHREALTIME/[.,]/} - ${BEGAN/[.,]/}) / 100000))
    printf '[%4d.%d s] %s\n' $((tenths / 10)) $((tenths % 10)) "$*"
}

die() {
    printf '\nFAILED: %s\n' "$1" >&2
    exit 1
}

# logged NAME COMMAND...: run COMMAND with its output in $LOG/NAME.log; when it fails, show the end.
logged() {
    local name=$1 log=$LOG/$1.log
    shift
    mkdir -p "$LOG"
    chmod 700 "$LOG"
    if ! "$@" >"$log" 2>&1 </dev/null; then
        printf '\nFAILED: %s. Its log is %s, which ends with:\n' "$name" "$log" >&2
        tail -n 20 "$log" | sed 's/^/    /' >&2
        exit 1
    fi
}

require_debian_root() {
    [ "$(id -u)" = 0 ] || die "This needs root: it installs packages and makes bridges and taps."
    command -v apt-get >/dev/null || die "This needs Debian (12 was tested): there is no apt-get."
}

# list FILE...: the words of the files, without comments.
list() { cat "$@" | sed 's/#.*//' | xargs; }

# missing PACKAGE...: those that are not installed.
missing() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
    done
}

# Keep packages from starting their daemons: some would take ports, and all would be in the way of
# ours. Where systemd runs, libvirt and Open vSwitch may start: those are used as they are.
hold_daemons() {
    [ -e $POLICY ] && return
    cat >$POLICY <<'END'
#!/bin/sh
# Made by nova-hyper's quick start, which removes it after installing packages.
[ -d /run/systemd/system ] || exit 101
case $1 in
    libvirt* | virtlogd* | virtlockd* | openvswitch* | ovs*) exit 0 ;;
    *) exit 101 ;;
esac
END
    chmod 755 $POLICY
    # shellcheck disable=SC2064
    trap "rm -f $POLICY" EXIT
}

# install_packages FILE...: install the Debian packages that the files list.
install_packages() {
    local wanted begin=$SECONDS
    # shellcheck disable=SC2046
    wanted=$(missing $(list "$@"))
    [ -n "$wanted" ] || { say "Debian packages: all there"; return; }
    say "installing Debian packages: $(wc -w <<<"$wanted") and what they depend on"
    hold_daemons
    local -x DEBIAN_FRONTEND=noninteractive
    logged apt-update apt-get update
    # shellcheck disable=SC2086
    logged apt-install apt-get install -y --no-install-recommends \
        -o Dpkg::Options::=--force-confold $wanted
    say "Debian packages installed in $((SECONDS - begin)) s"
}

# The user of hyperd's processes that read images (etc/sysusers.d, for where systemd makes users).
make_import_user() {
    getent passwd hyper-import >/dev/null ||
        useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
            --comment "Reads images for hyperd" hyper-import
}

# install_venv FILE...: the project and the requirements in the files, at the tested versions.
install_venv() {
    local begin=$SECONDS stamp=$VENV/nova-hyper.stamp pins wanted file
    local -a options=()
    # A line for each set of requirements that has been installed since the pins changed.
    pins=$({
        cat "$REPO"/{constraints.txt,requirements.txt,setup.cfg,pyproject.toml}
        echo "$REPO"
        /usr/bin/python3 --version
    } | sha256sum | cut -c 1-32)
    wanted="$pins $(cat "$@" | sha256sum | cut -c 1-32)"
    if grep -qxF "$wanted" "$stamp" 2>/dev/null && [ -x "$VENV/bin/hyperd" ]; then
        # Another checkout may have been installed since.
        [ "$(project_in_venv)" = "$REPO/nova_hyper" ] || install_project
        say "virtual environment: up to date"
        return
    fi
    say "installing OpenStack and the project into $VENV"
    [ -x "$VENV/bin/python" ] || logged venv /usr/bin/python3 -m venv "$VENV"
    for file in "$REPO/requirements.txt" "$@"; do options+=(-r "$file"); done
    logged pip-install "$VENV/bin/pip" install --disable-pip-version-check \
        -c "$REPO/constraints.txt" "${options[@]}"
    install_project
    {
        grep "^$pins " "$stamp" 2>/dev/null || true
        echo "$wanted"
    } >"$stamp.new"
    mv "$stamp.new" "$stamp"
    say "virtual environment made in $((SECONDS - begin)) s"
}

# The directory of the package that the virtual environment imports.
project_in_venv() {
    (cd / && "$VENV/bin/python" -c 'import nova_hyper; print(nova_hyper.__path__[0])' 2>/dev/null)
}

# The project itself runs from the checkout, so that an edit needs no installation.
install_project() {
    local -a env=()
    # pbr asks git for the version; a checkout without git, or of another user, has none.
    git -C "$REPO" describe --always >/dev/null 2>&1 || env=(env PBR_VERSION=0.0.0)
    logged pip-project "${env[@]}" "$VENV/bin/pip" install --disable-pip-version-check \
        --no-deps --no-build-isolation -e "$REPO"
}

# in_venv MODULE ARGUMENT...: run a module of tools/ in the virtual environment.
in_venv() {
    PYTHONPATH=$REPO/tools PYTHONDONTWRITEBYTECODE=1 "$VENV/bin/python" -W ignore -m "$@"
}
