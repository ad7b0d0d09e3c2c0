#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "disk.h"
#include "file.h"
#include "grow.h"

#define OWN "/run/upper"
#define SHARED "/run/shared"

static char of_pod[CONTAINER_PATH_MAX];

const char *store_of_pod(void)
{
    return of_pod[0] == 0 ? NULL : of_pod;
}

static int mount_tmpfs(int64_t size_mib, const char *target, struct failure *why)
{
    char options[64];

    snprintf(options, sizeof(options), "mode=0755,size=%lldm", (long long)size_mib);
    if (mount("upper", target, "tmpfs", 0, options) < 0) {
        return failure_set(why, "internal", "the writable layer cannot be mounted: %s",
                           strerror(errno));
    }
    return 0;
}

static int mount_disk(const char *serial, const char *target, struct failure *why)
{
    char device[CONTAINER_PATH_MAX];

    if (disk_find(serial, device, sizeof(device), why) < 0) {
        return -1;
    }
    if (mount(device, target, "ext4", 0, NULL) < 0) {
        return failure_set(why, "disk",
                           "the writable layer on disk \"%s\" does not mount as ext4: %s", serial,
                           strerror(errno));
    }
    if (grow_to_device(device, target, why) < 0) {
        umount2(target, MNT_DETACH);
        return -1;
    }
    return 0;
}

static int mount_on(const struct upper *upper, const char *target, struct failure *why)
{
    int result = upper->serial == NULL ? mount_tmpfs(upper->tmpfs_mib, target, why)
                                       : mount_disk(upper->serial, target, why);

    if (result == 0 && of_pod[0] == 0) {
        snprintf(of_pod, sizeof(of_pod), "%s", target);
    }
    return result;
}

int store_mount_shared(const struct upper *upper, char *path, size_t size, struct failure *why)
{
    if (upper->serial == NULL && upper->tmpfs == NULL) {
        return failure_set(why, "invalid", "a tmpfs that is shared must have a name in \"tmpfs\"");
    }
    snprintf(path, size, "%s/%s-%s", SHARED, upper->serial == NULL ? "tmpfs" : "disk",
             upper->serial == NULL ? upper->tmpfs : upper->serial);
    if (file_make_directories(SHARED, 0755) < 0 || mkdir(path, 0755) < 0) {
        return errno == EEXIST ? 0
                               : failure_set(why, "internal", "%s cannot be made: %s", path,
                                             strerror(errno));
    }
    if (mount_on(upper, path, why) < 0) {
        rmdir(path);
        return -1;
    }
    return 0;
}

int store_mount(const struct upper *upper, const char *name, char *path, size_t size,
                struct failure *why)
{
    if (upper->dir == NULL) {
        snprintf(path, size, OWN "/%s", name);
        if (file_make_directories(path, 0755) < 0) {
            return failure_set(why, "internal", "%s cannot be made: %s", path, strerror(errno));
        }
        return mount_on(upper, path, why);
    }
    if (store_mount_shared(upper, path, size, why) < 0) {
        return -1;
    }
    size_t length = strlen(path);
    snprintf(path + length, size - length, "/containers/%s", upper->dir);
    return 0;
}

void store_unmount(const struct upper *upper, const char *name)
{
    char path[CONTAINER_PATH_MAX];

    if (upper->dir == NULL) {
        snprintf(path, sizeof(path), OWN "/%s", name);
        umount2(path, MNT_DETACH);
        if (strcmp(of_pod, path) == 0) {
            of_pod[0] = 0;
        }
    }
}
