# DevStack plugin: a compute node that runs Docker images as micro-VMs.
#
#   enable_plugin nova-hyper https://opendev.org/openstack/nova-hyper
#
# shellcheck shell=bash disable=SC2154

# Debian's names; what a distribution lacks, apt says.
function install_nova_hyper {
    local packages
    packages=$(sed 's/#.*//' "$NOVA_HYPER_DIR/tools/cloud/packages-node.txt" | xargs)
    # shellcheck disable=SC2086
    install_package $packages
    setup_develop "$NOVA_HYPER_DIR"
    getent passwd hyper-import >/dev/null ||
        sudo useradd --system --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin hyper-import
}

function nova_hyper_command {
    echo "$(get_python_exec_prefix)/$1"
}

function build_nova_hyper_guest {
    sudo "$(nova_hyper_command hyperctl)" guest build \
        --directory "$NOVA_HYPER_STATE_DIR/guest" --source-dir "$NOVA_HYPER_DIR/guest"
}

function configure_nova_hyper {
    local conf=$NOVA_HYPER_CONF_DIR/hyperd.conf
    sudo install -d -o "$STACK_USER" "$NOVA_HYPER_CONF_DIR"
    touch "$conf"
    iniset "$conf" DEFAULT state_dir "$NOVA_HYPER_STATE_DIR"
    iniset "$conf" api socket "$NOVA_HYPER_SOCKET"
    # nova-compute runs as the stack user.
    iniset "$conf" api socket_group "$(id -gn "$STACK_USER")"
    iniset "$conf" hypervisor virt_type "$NOVA_HYPER_VIRT_TYPE"

    iniset "$NOVA_CPU_CONF" DEFAULT compute_driver hyper.HyperDriver
    iniset "$NOVA_CPU_CONF" hyper socket "$NOVA_HYPER_SOCKET"
}

function start_nova_hyper {
    run_process hyperd "$(nova_hyper_command hyperd) --config-file $NOVA_HYPER_CONF_DIR/hyperd.conf" "" root
}

# The same flavors and image as the quick start's.
function make_nova_hyper_resources {
    local archive=$DATA_DIR/nova-hyper-busybox.tar
    openstack --os-cloud devstack-admin flavor create --vcpus 1 --ram 64 --disk 0 \
        --property trait:CUSTOM_HYPER=required hyper.nano
    openstack --os-cloud devstack-admin flavor create --vcpus 1 --ram 256 --disk 1 \
        --property trait:CUSTOM_HYPER=required hyper.small
    sudo "$NOVA_HYPER_DIR/tools/images/busybox.sh" "$archive"
    openstack --os-cloud devstack-admin image create --public \
        --container-format docker --disk-format raw \
        --property img_hv_type=docker --property hw_vm_mode=exe \
        --file "$archive" busybox
}

function cleanup_nova_hyper {
    sudo rm -rf "$NOVA_HYPER_STATE_DIR" "$NOVA_HYPER_CONF_DIR"
}

if is_service_enabled hyperd; then
    case "$1 ${2:-}" in
        "stack install")
            echo_summary "Installing nova-hyper"
            install_nova_hyper
            echo_summary "Building the guest of nova-hyper"
            build_nova_hyper_guest
            ;;
        "stack post-config")
            # DevStack starts nova-compute after this, and it waits for hyperd.
            echo_summary "Configuring and starting hyperd"
            configure_nova_hyper
            start_nova_hyper
            ;;
        "stack test-config")
            make_nova_hyper_resources
            ;;
        "unstack ")
            stop_process hyperd
            ;;
        "clean ")
            cleanup_nova_hyper
            ;;
    esac
fi
