#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "rewrite.h"
#include "user.h"

#define DIRECTORY ".ssh"
#define NAME "authorized_keys"

static bool has_line(const struct rewrite *file, const char *wanted)
{
    size_t length = strlen(wanted);
    const char *end = file->bytes + file->count;

    for (const char *line = file->bytes; line != NULL && line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        size_t size = (size_t)((next == NULL ? end : next) - line);
        while (size > length && (line[size - 1] == '\r' || line[size - 1] == ' ')) {
            size--;
        }
        if (size == length && memcmp(line, wanted, length) == 0) {
            return true;
        }
        line = next == NULL ? end : next + 1;
    }
    return false;
}

static bool is_repeated(char *const *keys, char *const *key)
{
    while (keys < key && strcmp(*keys, *key) != 0) {
        keys++;
    }
    return keys < key;
}

/* The file with the keys that it lacks; *count* is 0 when there is nothing to add. */
static char *join(const struct rewrite *file, char *const *keys, size_t *count)
{
    char *text = NULL;
    bool added = false;
    FILE *stream = open_memstream(&text, count);

    if (stream == NULL) {
        return NULL;
    }
    fwrite(file->bytes == NULL ? "" : file->bytes, 1, file->count, stream);
    for (char *const *key = keys; *key != NULL; key++) {
        if (has_line(file, *key) || is_repeated(keys, key)) {
            continue;
        }
        bool broken = !added && file->count > 0 && file->bytes[file->count - 1] != '\n';
        fprintf(stream, "%s%s\n", broken ? "\n" : "", *key);
        added = true;
    }
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    *count = added ? *count : 0;
    return text;
}

static int add(int directory, const struct identity *identity, char *const *keys,
               struct failure *why)
{
    struct rewrite file;
    size_t count;

    if (rewrite_read(directory, NAME, &file, why) < 0) {
        return -1;
    }
    if (file.bytes == NULL) {
        file.status.st_uid = identity->uid;
        file.status.st_gid = identity->gid;
        file.status.st_mode = 0600;
    }
    char *text = join(&file, keys, &count);
    int result = text == NULL ? failure_set(why, "internal", "the agent has no memory left") : 1;
    if (text != NULL && count > 0 &&
        rewrite_write(directory, NAME, &file.status, text, count, why) < 0) {
        result = -1;
    }
    free(text);
    free(file.bytes);
    return result;
}

/* Make *name* in *parent* the user's alone, unless it is there. */
static int make(int parent, const char *name, const struct identity *identity)
{
    if (mkdirat(parent, name, 0700) < 0) {
        return errno == EEXIST ? 0 : -1;
    }
    return fchownat(parent, name, identity->uid, identity->gid, AT_SYMLINK_NOFOLLOW);
}

static int open_home(const struct identity *identity)
{
    char parent[PATH_MAX];
    struct stat status;

    if (stat(identity->home, &status) < 0) {
        char *slash = strrchr(strcpy(parent, identity->home), '/');
        *slash = 0;
        if ((parent[0] != 0 && file_make_directories(parent, 0755) < 0) ||
            make(AT_FDCWD, identity->home, identity) < 0) {
            return -1;
        }
    }
    return open(identity->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int keys_add(const char *passwd, const char *user, char *const *keys, struct failure *why)
{
    struct identity identity;

    if (user_resolve(user, passwd, "/dev/null", &identity, why) < 0 || identity.home[0] != '/' ||
        identity.home[1] == 0) {
        return 0;
    }
    size_t length = strlen(identity.home);
    while (length > 1 && identity.home[length - 1] == '/') {
        identity.home[--length] = 0;
    }
    int home = open_home(&identity);
    int directory = -1;
    if (home >= 0 && make(home, DIRECTORY, &identity) == 0) {
        /* No link: the user could have put it there, and root would write wherever it leads. */
        directory = openat(home, DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (directory < 0) {
        failure_set(why, errno == ENOSPC ? "disk" : "invalid",
                    "the directory for keys in \"%.200s\" cannot be used: %s", identity.home,
                    strerror(errno));
    }
    int result = directory < 0 ? -1 : add(directory, &identity, keys, why);
    if (directory >= 0) {
        close(directory);
    }
    if (home >= 0) {
        close(home);
    }
    return result;
}
