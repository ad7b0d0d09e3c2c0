#include "overlay.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "disk.h"
#include "file.h"
#include "store.h"

#define LAYERS "/run/layer"
/* mount(2) takes one page of options. */
#define OPTIONS_MAX 4096
#define PATH_SIZE 256

static int mount_layer(const char *serial, struct failure *why)
{
    char device[PATH_SIZE];
    char target[PATH_SIZE];

    snprintf(target, sizeof(target), LAYERS "/%s", serial);
    if (mkdir(target, 0755) < 0) {
        if (errno == EEXIST) {
            return 0; /* another container has it too */
        }
        return failure_set(why, "internal", "%s cannot be made: %s", target, strerror(errno));
    }
    if (disk_find(serial, device, sizeof(device), why) < 0) {
        rmdir(target);
        return -1;
    }
    if (mount(device, target, "squashfs", MS_RDONLY, NULL) < 0) {
        int error = errno;
        rmdir(target);
        return failure_set(why, "disk", "the layer on disk \"%s\" does not mount as squashfs: %s",
                           serial, strerror(error));
    }
    return 0;
}

static int write_options(const struct overlay *overlay, const char *upper, char *options,
                         size_t size)
{
    /* xino: all files have one device number, as in a container that is not a guest. Without it
     * "find -xdev" and "tar --one-file-system" leave out the files of the layers. */
    size_t length = (size_t)snprintf(options, size,
                                     "xino=on,upperdir=%s/upper,workdir=%s/work,lowerdir=",
                                     upper, upper);

    /* overlayfs wants the top first; the names are relative to save room. */
    for (size_t i = overlay->layer_count; i-- > 0;) {
        int more = snprintf(options + length, size - length, "%s%s", overlay->layers[i],
                            i > 0 ? ":" : "");
        if (more < 0 || (size_t)more >= size - length) {
            return -1;
        }
        length += (size_t)more;
    }
    return 0;
}

static int mount_overlay(const struct overlay *overlay, const char *upper, const char *root,
                         struct failure *why)
{
    char options[OPTIONS_MAX];
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), "%s/upper", upper);
    if (file_make_directories(path, 0755) < 0) {
        return failure_set(why, "disk", "the writable layer cannot be written: %s",
                           strerror(errno));
    }
    snprintf(path, sizeof(path), "%s/work", upper);
    if (file_make_directories(path, 0755) < 0) {
        return failure_set(why, "disk", "the writable layer cannot be written: %s",
                           strerror(errno));
    }
    if (write_options(overlay, upper, options, sizeof(options)) < 0) {
        return failure_set(why, "invalid", "%zu layers are too many", overlay->layer_count);
    }
    if (chdir(LAYERS) < 0 || mount("overlay", root, "overlay", 0, options) < 0) {
        int error = errno;
        (void)!chdir("/");
        return failure_set(why, "disk", "the layers cannot be joined: %s", strerror(error));
    }
    (void)!chdir("/");
    return 0;
}

int overlay_mount(const struct overlay *overlay, const char *name, const char *root, char *upper,
                  size_t upper_size, struct failure *why)
{
    char store[CONTAINER_PATH_MAX];

    if (file_make_directories(LAYERS, 0755) < 0 || file_make_directories(root, 0755) < 0) {
        return failure_set(why, "internal", "%s cannot be made: %s", root, strerror(errno));
    }
    for (size_t i = 0; i < overlay->layer_count; i++) {
        if (mount_layer(overlay->layers[i], why) < 0) {
            return -1;
        }
    }
    if (store_mount(&overlay->upper, name, store, sizeof(store), why) < 0) {
        return -1;
    }
    if (mount_overlay(overlay, store, root, why) < 0) {
        store_unmount(&overlay->upper, name);
        return -1;
    }
    snprintf(upper, upper_size, "%s/upper", store);
    return 0;
}

void overlay_unmount(const struct overlay *overlay, const char *name, const char *root)
{
    umount2(root, MNT_DETACH);
    store_unmount(&overlay->upper, name);
}
