#include "shadow.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rewrite.h"

/* Where the line of *user* begins; NULL when there is none. */
static const char *find_line(const struct rewrite *file, const char *user)
{
    size_t length = strlen(user);
    const char *end = file->bytes + file->count;

    for (const char *line = file->bytes; line < end;) {
        size_t left = (size_t)(end - line);
        if (left > length && memcmp(line, user, length) == 0 && line[length] == ':') {
            return line;
        }
        const char *next = memchr(line, '\n', left);
        line = next == NULL ? end : next + 1;
    }
    return NULL;
}

/* What is behind the field at *at*: the colon, or the end of the line. */
static const char *field_end(const char *at, const char *end)
{
    while (at < end && *at != ':' && *at != '\n') {
        at++;
    }
    return at;
}

static char *edit(const struct rewrite *file, const char *line, const char *hash, int64_t day,
                  size_t *count)
{
    const char *end = file->bytes + file->count;
    const char *password = field_end(line, end) + 1;
    const char *rest = field_end(password, end);
    char *text = NULL;
    size_t size = 0;
    FILE *stream;

    if ((size_t)(rest - password) == strlen(hash) && memcmp(password, hash, strlen(hash)) == 0) {
        *count = 0; /* it is so already */
        return NULL;
    }
    if ((stream = open_memstream(&text, &size)) == NULL) {
        return NULL;
    }
    fwrite(file->bytes, 1, (size_t)(password - file->bytes), stream);
    fputs(hash, stream);
    if (rest < end && *rest == ':') {
        fprintf(stream, ":%lld", (long long)day);
        rest = field_end(rest + 1, end);
    }
    fwrite(rest, 1, (size_t)(end - rest), stream);
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    *count = size;
    return text;
}

static int change(int directory, const char *name, const char *user, const char *hash, int64_t day,
                  struct failure *why)
{
    struct rewrite file;
    size_t count = 1;

    if (rewrite_read(directory, name, &file, why) < 0) {
        return -1;
    }
    const char *line = file.bytes == NULL ? NULL : find_line(&file, user);
    if (line == NULL) {
        free(file.bytes);
        return 0;
    }
    int result = 1;
    char *text = edit(&file, line, hash, day, &count);
    if (text == NULL && count > 0) {
        result = failure_set(why, "internal", "the agent has no memory left");
    } else if (text != NULL && rewrite_write(directory, name, &file.status, text, count, why) < 0) {
        result = -1;
    }
    free(text);
    free(file.bytes);
    return result;
}

int shadow_set(const char *path, const char *user, const char *hash, int64_t day,
               struct failure *why)
{
    char real[PATH_MAX];

    if (realpath(path, real) == NULL) {
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : failure_set(why, "invalid", "\"%s\" cannot be found: %s", path,
                                 strerror(errno));
    }
    char *name = strrchr(real, '/');
    *name++ = 0;
    int directory = open(real[0] == 0 ? "/" : real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        return failure_set(why, "invalid", "\"%s\" cannot be opened: %s", path, strerror(errno));
    }
    int result = change(directory, name, user, hash, day, why);
    close(directory);
    return result;
}
