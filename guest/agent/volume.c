#include "volume.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base64.h"
#include "beneath.h"
#include "container.h"
#include "field.h"
#include "file.h"
#include "overlay.h"
#include "request.h"
#include "store.h"
#include "upper.h"

#define MOUNTED "/run/volume"
#define VOLUME_MAX 256
#define MAX_SIZE_MIB (16 * 1024 * 1024)
#define MAX_ID 2147483647
#define MAX_DATA (192 * 1024)
/* What an emptyDir of Kubernetes has: the containers run as different users. */
#define DEFAULT_MODE 0777

/* A directory that containers share and that ends with the pod. */
struct volume {
    char name[VOLUME_NAME_MAX + 1];
    bool in_memory;
    bool is_root; /* the root of a container that does not run */
    int64_t size_mib; /* of one in memory; 0: half of the guest's */
    int64_t mode, gid;
    char path[CONTAINER_PATH_MAX]; /* empty while it is not made */
    struct volume *next;
};

static struct volume *volumes;

static struct volume *find(const char *name)
{
    struct volume *at = volumes;

    while (at != NULL && strcmp(at->name, name) != 0) {
        at = at->next;
    }
    return at;
}

static size_t count_all(void)
{
    size_t count = 0;

    for (const struct volume *at = volumes; at != NULL; at = at->next) {
        count++;
    }
    return count;
}

static int own(const struct volume *volume, const char *path, struct failure *why)
{
    /* The mode last: chown clears set-group-ID. */
    if (chown(path, 0, (gid_t)volume->gid) < 0 || chmod(path, (mode_t)volume->mode) < 0) {
        return failure_set(why, "internal", "volume \"%s\" cannot be given away: %s", volume->name,
                           strerror(errno));
    }
    return 0;
}

static int make_in_memory(struct volume *volume, struct failure *why)
{
    char path[CONTAINER_PATH_MAX], options[64] = "size=50%";

    snprintf(path, sizeof(path), MOUNTED "/%s", volume->name);
    if (volume->size_mib > 0) {
        snprintf(options, sizeof(options), "size=%lldm", (long long)volume->size_mib);
    }
    if (file_make_directories(path, 0755) < 0 ||
        mount("volume", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0) {
        return failure_set(why, "internal", "volume \"%s\" cannot be mounted: %s", volume->name,
                           strerror(errno));
    }
    if (own(volume, path, why) < 0) {
        umount2(path, MNT_DETACH);
        return -1;
    }
    memcpy(volume->path, path, sizeof(path));
    return 0;
}

static int make_on(struct volume *volume, const char *store, struct failure *why)
{
    char path[CONTAINER_PATH_MAX];
    struct stat status;

    int length = snprintf(path, sizeof(path), "%s/volumes/%s", store, volume->name);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        return failure_set(why, "internal", "the path of volume \"%s\" is too long", volume->name);
    }
    bool is_new = stat(path, &status) < 0;
    if (file_make_directories(path, 0755) < 0) {
        return failure_set(why, "disk", "volume \"%s\" cannot be made: %s", volume->name,
                           strerror(errno));
    }
    if (is_new && own(volume, path, why) < 0) {
        return -1;
    }
    memcpy(volume->path, path, sizeof(path));
    return 0;
}

static int make(struct volume *volume, struct failure *why)
{
    if (volume->path[0] != 0) {
        return 0;
    }
    if (volume->in_memory) {
        return make_in_memory(volume, why);
    }
    const char *store = store_of_pod();
    if (store == NULL) {
        return failure_set(why, "state",
                           "volume \"%s\" is on the pod's disk, which is not mounted yet: name it "
                           "in \"upper\", or create a container first",
                           volume->name);
    }
    return make_on(volume, store, why);
}

int volume_find(const char *name, char *path, size_t size, struct failure *why)
{
    struct volume *volume = find(name);

    if (volume == NULL) {
        return failure_set(why, "invalid", "the pod has no volume \"%s\"", name);
    }
    if (make(volume, why) < 0) {
        return -1;
    }
    snprintf(path, size, "%s", volume->path);
    return 0;
}

static int read_medium(const json_t *request, struct volume *volume, struct failure *why)
{
    const char *kind, *medium;

    if (field_string(request, "kind", 31, "empty", &kind, why) < 0 ||
        field_string(request, "medium", 31, "disk", &medium, why) < 0) {
        return -1;
    }
    volume->is_root = strcmp(kind, "root") == 0;
    if (!volume->is_root && strcmp(kind, "empty") != 0) {
        return failure_set(why, "invalid", "\"%s\" is not a kind of volume", kind);
    }
    volume->in_memory = strcmp(medium, "memory") == 0;
    if (!volume->in_memory && strcmp(medium, "disk") != 0) {
        return failure_set(why, "invalid", "\"%s\" is neither \"disk\" nor \"memory\"", medium);
    }
    return 0;
}

static int mount_root(const json_t *request, struct volume *volume, struct failure *why)
{
    struct overlay overlay = {.layer_count = 0};
    char path[CONTAINER_PATH_MAX], upper[CONTAINER_PATH_MAX];

    snprintf(path, sizeof(path), MOUNTED "/%s", volume->name);
    if (overlay_parse(request, &overlay, why) < 0 ||
        overlay_mount(&overlay, volume->name, path, upper, sizeof(upper), why) < 0) {
        return -1;
    }
    memcpy(volume->path, path, sizeof(path));
    return 0;
}

/* Put a volume on the disk or tmpfs that the request names, at once. */
static int place(const json_t *request, struct volume *volume, struct failure *why)
{
    struct upper upper = {.serial = NULL};
    char store[CONTAINER_PATH_MAX];

    if (volume->is_root) {
        return mount_root(request, volume, why);
    }
    if (volume->in_memory) {
        return make(volume, why);
    }
    if (!field_is_set(request, "upper")) {
        return 0;
    }
    if (upper_parse(json_object_get(request, "upper"), &upper, why) < 0 ||
        store_mount_shared(&upper, store, sizeof(store), why) < 0) {
        return -1;
    }
    return make_on(volume, store, why);
}

static int read_volume(const json_t *request, struct volume *volume, struct failure *why)
{
    const char *name;

    if (field_string(request, "name", VOLUME_NAME_MAX, NULL, &name, why) < 0) {
        return -1;
    }
    if (!field_is_name(name, VOLUME_NAME_MAX)) {
        return failure_set(why, "invalid", "\"%s\" is not a volume's name", name);
    }
    snprintf(volume->name, sizeof(volume->name), "%s", name);
    if (read_medium(request, volume, why) < 0 ||
        field_integer_or(request, "size_mib", 1, MAX_SIZE_MIB, 0, &volume->size_mib, why) < 0 ||
        field_integer_or(request, "mode", 0, 07777, DEFAULT_MODE, &volume->mode, why) < 0 ||
        field_integer_or(request, "gid", 0, MAX_ID, 0, &volume->gid, why) < 0) {
        return -1;
    }
    return 0;
}

enum outcome volume_create(uint32_t id, const json_t *request, json_t **fields,
                           struct failure *why)
{
    struct volume read = {.path = ""};

    (void)id;
    (void)fields;
    if (read_volume(request, &read, why) < 0) {
        return OUTCOME_FAILED;
    }
    if (find(read.name) != NULL) {
        return OUTCOME_DONE;
    }
    if (count_all() >= VOLUME_MAX) {
        failure_set(why, "state", "the pod has %d volumes already", VOLUME_MAX);
        return OUTCOME_FAILED;
    }
    struct volume *volume = malloc(sizeof(*volume));
    if (volume == NULL) {
        failure_set(why, "internal", "the agent has no memory left");
        return OUTCOME_FAILED;
    }
    *volume = read;
    if (place(request, volume, why) < 0) {
        free(volume);
        return OUTCOME_FAILED;
    }
    volume->next = volumes;
    volumes = volume;
    return OUTCOME_DONE;
}

/* Open the file *path* of a volume to write it, with the directories above it. */
static int open_file(const struct volume *volume, const char *path, bool append)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int top = open(volume->path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (top < 0) {
        return -1;
    }
    snprintf(parent, sizeof(parent), "%.*s", slash == NULL ? 0 : (int)(slash - path), path);
    int directory = beneath_make_directories(top, parent, 0755);
    int fd = -1;
    if (directory >= 0) {
        /* O_NONBLOCK: a container may have put a FIFO there. */
        fd = beneath_open(directory, slash == NULL ? path : slash + 1,
                          O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
                              (append ? O_APPEND : O_TRUNC),
                          0600);
        int error = errno;
        close(directory);
        errno = error;
    }
    int error = errno;
    close(top);
    errno = error;
    return fd;
}

static int write_file(const struct volume *volume, const char *path, mode_t mode, bool append,
                      const uint8_t *bytes, size_t count, struct failure *why)
{
    int fd = open_file(volume, path, append);

    if (fd < 0 || file_write_all(fd, bytes, count) < 0 || fchown(fd, 0, (gid_t)volume->gid) < 0 ||
        fchmod(fd, mode) < 0) {
        failure_set(why, "disk", "file \"%s\" of volume \"%s\" cannot be written: %s", path,
                    volume->name, strerror(errno));
    } else {
        close(fd);
        return 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

enum outcome volume_write(uint32_t id, const json_t *request, json_t **fields,
                          struct failure *why)
{
    const char *name, *path, *text;
    char top[CONTAINER_PATH_MAX];
    int64_t mode;
    bool append;
    size_t count;

    (void)id;
    (void)fields;
    if (field_string(request, "name", VOLUME_NAME_MAX, NULL, &name, why) < 0 ||
        field_string(request, "path", PATH_MAX - 1, NULL, &path, why) < 0 ||
        field_integer_or(request, "mode", 0, 07777, 0644, &mode, why) < 0 ||
        field_boolean(request, "append", false, &append, why) < 0 ||
        field_string(request, "data", BASE64_LENGTH(MAX_DATA), NULL, &text, why) < 0 ||
        volume_find(name, top, sizeof(top), why) < 0) {
        return OUTCOME_FAILED;
    }
    if (path[0] == 0 || path[0] == '/' || path[strlen(path) - 1] == '/') {
        failure_set(why, "invalid", "\"%s\" is not the relative path of a file", path);
        return OUTCOME_FAILED;
    }
    uint8_t *bytes = malloc(MAX_DATA + 1);
    if (bytes == NULL || base64_decode(text, bytes, MAX_DATA, &count) < 0) {
        failure_set(why, bytes == NULL ? "internal" : "invalid", "%s",
                    bytes == NULL ? "the agent has no memory left" : "\"data\" is not base64");
        free(bytes);
        return OUTCOME_FAILED;
    }
    int result = write_file(find(name), path, (mode_t)mode, append, bytes, count, why);
    free(bytes);
    return result < 0 ? OUTCOME_FAILED : OUTCOME_DONE;
}
