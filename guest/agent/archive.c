#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "field.h"
#include "freeze.h"
#include "pack.h"
#include "request.h"
#include "transfer.h"
#include "unpack.h"

/* Where *path* is: its last component, and the directory of it in *directory*.  A path that ends
 * with a slash or "/." is that of a directory, also through a link. */
static int split(const char *path, char directory[PATH_MAX], char name[NAME_MAX + 1])
{
    char full[PATH_MAX];
    struct stat status;
    size_t length = strlen(path);
    int followed = length > 0 && (path[length - 1] == '/' ||
                                  (length > 1 && strcmp(path + length - 2, "/.") == 0));

    while (length > 0 && (path[length - 1] == '/' ||
                          (length > 1 && strncmp(path + length - 2, "/.", 2) == 0))) {
        length--;
    }
    if (length == 0) {
        strcpy(directory, "/");
        strcpy(name, ".");
        return 0;
    }
    snprintf(full, sizeof(full), "%.*s", (int)length, path);
    if (followed && (stat(full, &status) < 0 || realpath(full, directory) == NULL)) {
        return -1;
    }
    if (followed) {
        strcpy(full, directory);
    }
    if (followed && !S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    char *slash = strrchr(full, '/');
    const char *last = slash == NULL ? full : slash + 1;
    if (strlen(last) > NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(name, last[0] == 0 ? "." : last);
    snprintf(directory, PATH_MAX, "%.*s", slash == NULL ? 0 : (int)(slash - full), full);
    if (directory[0] == 0) {
        strcpy(directory, "/");
    }
    return 0;
}

static int not_there(const struct transfer_job *job, struct failure *why)
{
    return failure_set(why, "invalid", "\"%s\" in container \"%s\": %s", job->path,
                       job->container->name, strerror(errno));
}

static int find_source(const struct transfer_job *job, struct transfer_report *report)
{
    char directory[PATH_MAX];
    struct stat status;

    if (split(job->path, directory, report->name) < 0 || chdir(directory) < 0 ||
        lstat(report->name, &status) < 0) {
        return not_there(job, &report->why);
    }
    report->mode = status.st_mode;
    report->size = status.st_size;
    return 0;
}

static int send_tree(const struct transfer_job *job, struct failure *why)
{
    char directory[PATH_MAX];
    char name[NAME_MAX + 1];
    int fd = split(job->path, directory, name) < 0
                 ? -1
                 : open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return not_there(job, why);
    }
    return pack_tree(1, fd, name, name, why);
}

static int find_target(const struct transfer_job *job, struct transfer_report *report)
{
    struct stat status;

    if (chdir(job->path) < 0 || stat(".", &status) < 0) {
        return not_there(job, &report->why);
    }
    snprintf(report->name, sizeof(report->name), "%s", basename(job->path));
    report->mode = status.st_mode;
    report->size = status.st_size;
    return 0;
}

static int take_tree(const struct transfer_job *job, struct failure *why)
{
    (void)job;
    return unpack(0, why);
}

static int find_upper(const struct transfer_job *job, struct transfer_report *report)
{
    struct stat status;

    if (job->freeze) {
        freeze_wait(job->container);
    }
    if (stat(job->container->upper, &status) < 0) {
        return failure_set(&report->why, "internal",
                           "the writable layer of container \"%s\" is not there: %s",
                           job->container->name, strerror(errno));
    }
    report->mode = status.st_mode;
    return 0;
}

static int send_upper(const struct transfer_job *job, struct failure *why)
{
    int fd = open(job->container->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return failure_set(why, "internal", "the writable layer cannot be read: %s",
                           strerror(errno));
    }
    return pack_layer(1, fd, why);
}

static enum outcome start(uint32_t id, const json_t *request, struct transfer_job *job,
                          struct failure *why)
{
    const char *path = "/";

    job->container = container_named(request, why);
    if (job->container == NULL ||
        (job->inside && field_string(request, "path", PATH_MAX - 1, NULL, &path, why) < 0)) {
        return OUTCOME_FAILED;
    }
    if (path[0] != '/') {
        failure_set(why, "invalid", "the path \"%s\" is not absolute", path);
        return OUTCOME_FAILED;
    }
    job->path = path;
    return transfer_start(id, request, job, why);
}

enum outcome archive_get(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    struct transfer_job job = {.inside = true, .find = find_source, .run = send_tree};

    (void)fields;
    return start(id, request, &job, why);
}

enum outcome archive_put(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    struct transfer_job job = {
        .inside = true, .input = true, .find = find_target, .run = take_tree};

    (void)fields;
    return start(id, request, &job, why);
}

enum outcome upper_export(uint32_t id, const json_t *request, json_t **fields,
                          struct failure *why)
{
    struct transfer_job job = {
        .freeze = json_is_true(json_object_get(request, "freeze")),
        .find = find_upper,
        .run = send_upper,
    };

    (void)fields;
    return start(id, request, &job, why);
}
