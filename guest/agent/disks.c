#include "disks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include "disk.h"
#include "field.h"
#include "file.h"
#include "grow.h"
#include "mountpoint.h"
#include "request.h"
#include "rootfs.h"

#define DIRECTORY "/run/disk"
#define BY_LABEL "/dev/disk/by-label"
#define DEVICE_MAX 64
#define LABEL_MAX 32
#define DIRECTORY_MAX 64

static struct {
    char serial[DISK_SERIAL_MAX + 1];
    char path[PATH_MAX];
    char device[DEVICE_MAX];
    char label[LABEL_MAX + 1]; /* empty: containers do not see the device */
    dev_t number;
} disks[DISKS_MAX];
static size_t count;

static void directory_of(const char *serial, char directory[DIRECTORY_MAX])
{
    snprintf(directory, DIRECTORY_MAX, DIRECTORY "/%.*s", DISK_SERIAL_MAX, serial);
}

static bool is_mounted(const char *serial)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(disks[i].serial, serial) == 0) {
            return true;
        }
    }
    return false;
}

/* An absolute path below the root that does not climb. */
static bool is_path(const char *path)
{
    return path[0] == '/' && path[1] != 0 && !file_path_climbs(path);
}

static int read_serial(const json_t *request, const char **serial, struct failure *why)
{
    if (field_string(request, "serial", DISK_SERIAL_MAX, NULL, serial, why) < 0) {
        return -1;
    }
    if (!field_is_name(*serial, DISK_SERIAL_MAX)) {
        return failure_set(why, "invalid", "\"%s\" is not a serial number", *serial);
    }
    return 0;
}

static const struct {
    const char *format;
    unsigned long flags;
} formats[] = {
    {"ext4", 0},
    {"iso9660", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC},
};

/* The flags that a file system of *format* is mounted with; -1 for one that cannot be. */
static long flags_of(const char *format)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(format, formats[i].format) == 0) {
            return (long)formats[i].flags;
        }
    }
    return -1;
}

static int mount_disk(const char *serial, const char *format, char device[DEVICE_MAX],
                      struct failure *why)
{
    char directory[DIRECTORY_MAX];

    directory_of(serial, directory);
    if (disk_find(serial, device, DEVICE_MAX, why) < 0) {
        return -1;
    }
    if (file_make_directories(directory, 0755) < 0) {
        return failure_set(why, "internal", "%s cannot be made: %s", directory, strerror(errno));
    }
    if (mount(device, directory, format, (unsigned long)flags_of(format), NULL) < 0) {
        int error = errno;
        rmdir(directory);
        return failure_set(why, "disk", "disk \"%s\" does not mount as %s: %s", serial, format,
                           strerror(error));
    }
    if (grow_to_device(device, directory, why) < 0) {
        umount2(directory, MNT_DETACH);
        rmdir(directory);
        return -1;
    }
    return 0;
}

enum outcome disk_mount(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    const char *serial, *path, *format, *label;
    char device[DEVICE_MAX];
    struct stat status;

    (void)id;
    (void)fields;
    if (read_serial(request, &serial, why) < 0 ||
        field_string(request, "path", PATH_MAX - 1, NULL, &path, why) < 0 ||
        field_string(request, "format", 15, "ext4", &format, why) < 0 ||
        field_string(request, "label", LABEL_MAX, "", &label, why) < 0) {
        return OUTCOME_FAILED;
    }
    if (!is_path(path)) {
        failure_set(why, "invalid", "\"%s\" is not a path to mount on", path);
        return OUTCOME_FAILED;
    }
    if (label[0] != 0 && !field_is_name(label, LABEL_MAX)) {
        failure_set(why, "invalid", "\"%s\" is not a label", label);
        return OUTCOME_FAILED;
    }
    if (flags_of(format) < 0) {
        failure_set(why, "invalid", "a disk of format \"%s\" cannot be mounted", format);
        return OUTCOME_FAILED;
    }
    if (is_mounted(serial)) {
        return OUTCOME_DONE;
    }
    if (count == DISKS_MAX) {
        failure_set(why, "state", "the pod has %d disks already", DISKS_MAX);
        return OUTCOME_FAILED;
    }
    if (mount_disk(serial, format, device, why) < 0) {
        return OUTCOME_FAILED;
    }
    disks[count].number = stat(device, &status) < 0 ? 0 : status.st_rdev;
    snprintf(disks[count].device, sizeof(disks[count].device), "%s", device);
    snprintf(disks[count].label, sizeof(disks[count].label), "%s", label);
    snprintf(disks[count].serial, sizeof(disks[count].serial), "%s", serial);
    snprintf(disks[count].path, sizeof(disks[count].path), "%s", path);
    count++;
    return OUTCOME_DONE;
}

enum outcome swap_on(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    char device[DEVICE_MAX];
    const char *serial;

    (void)id;
    (void)fields;
    if (read_serial(request, &serial, why) < 0 ||
        disk_find(serial, device, sizeof(device), why) < 0) {
        return OUTCOME_FAILED;
    }
    /* What is not in use any more is given back to the host.  EBUSY: it is in use already. */
    if (swapon(device, SWAP_FLAG_DISCARD) < 0 && errno != EBUSY) {
        failure_set(why, "disk", "disk \"%s\" cannot be used for swap: %s", serial,
                    strerror(errno));
        return OUTCOME_FAILED;
    }
    return OUTCOME_DONE;
}

int disks_hold(struct disks_held *held, struct failure *why)
{
    char directory[DIRECTORY_MAX];

    for (size_t i = 0; i < count; i++) {
        directory_of(disks[i].serial, directory);
        held->trees[i] = open_tree(AT_FDCWD, directory, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (held->trees[i] < 0) {
            return failure_set(why, "internal", "%s cannot be shared: %s", directory,
                               strerror(errno));
        }
    }
    return 0;
}

int disks_attach(struct disks_held *held, struct failure *why)
{
    for (size_t i = 0; i < count; i++) {
        if (mountpoint_make_directories(disks[i].path, 0755) < 0 ||
            rootfs_attach(held->trees[i], disks[i].path) < 0) {
            return failure_set(why, "exec", "%s of the image cannot be mounted on: %s",
                               disks[i].path, strerror(errno));
        }
        close(held->trees[i]);
    }
    return 0;
}

int disks_make_devices(struct failure *why)
{
    char link[sizeof(BY_LABEL) + LABEL_MAX + 1], target[DEVICE_MAX + 8];

    for (size_t i = 0; i < count; i++) {
        if (disks[i].label[0] == 0) {
            continue;
        }
        snprintf(link, sizeof(link), BY_LABEL "/%s", disks[i].label);
        snprintf(target, sizeof(target), "../..%s", disks[i].device + strlen("/dev"));
        if (mknod(disks[i].device, S_IFBLK | 0400, disks[i].number) < 0 ||
            file_make_directories(BY_LABEL, 0755) < 0 || symlink(target, link) < 0) {
            return failure_set(why, "internal", "%s cannot be made: %s", link, strerror(errno));
        }
    }
    return 0;
}
