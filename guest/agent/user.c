#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE_BYTES (8 * 1024 * 1024)
#define MAX_FIELDS 7
#define MAX_ID 2147483647

/* Called with the fields of one line, missing ones empty; true ends the reading. */
typedef bool line_handler(void *context, char *fields[MAX_FIELDS]);

static FILE *open_regular(const char *path)
{
    struct stat status;
    /* The image may have put anything here, also a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > MAX_FILE_BYTES) {
        close(fd);
        return NULL;
    }
    FILE *file = fdopen(fd, "re");
    if (file == NULL) {
        close(fd);
    }
    return file;
}

static void read_lines(const char *path, line_handler *handler, void *context)
{
    FILE *file = open_regular(path);
    char *line = NULL;
    size_t size = 0;
    static char empty[] = "";

    if (file == NULL) {
        return;
    }
    while (getline(&line, &size, file) >= 0) {
        char *fields[MAX_FIELDS];
        char *rest = line;
        line[strcspn(line, "\r\n")] = 0;
        for (size_t i = 0; i < MAX_FIELDS; i++) {
            fields[i] = rest == NULL ? empty : strsep(&rest, ":");
        }
        if (fields[0][0] != 0 && fields[0][0] != '#' && handler(context, fields)) {
            break;
        }
    }
    free(line);
    fclose(file);
}

/* The number that *text* is, or -1. */
static int64_t parse_id(const char *text)
{
    int64_t value = 0;

    if (text[0] == 0) {
        return -1;
    }
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9') {
            return -1;
        }
        value = value * 10 + (*text - '0');
        if (value > MAX_ID) {
            return -1;
        }
    }
    return value;
}

struct passwd_search {
    const char *wanted;
    int64_t wanted_id;
    struct identity *identity;
    char name[256]; /* of the entry that was found */
    bool found;
};

static bool match_passwd(void *context, char *fields[MAX_FIELDS])
{
    struct passwd_search *search = context;
    int64_t uid = parse_id(fields[2]);
    int64_t gid = parse_id(fields[3]);

    if (uid < 0 || gid < 0 || (strcmp(fields[0], search->wanted) != 0 && uid != search->wanted_id)) {
        return false;
    }
    search->found = true;
    search->identity->uid = (uid_t)uid;
    search->identity->gid = (gid_t)gid;
    snprintf(search->name, sizeof(search->name), "%s", fields[0]);
    if (fields[5][0] != 0) {
        snprintf(search->identity->home, sizeof(search->identity->home), "%s", fields[5]);
    }
    return true;
}

struct group_search {
    const char *wanted; /* NULL: collect the groups of *member* */
    int64_t wanted_id;
    const char *member;
    struct identity *identity;
    bool found;
};

static bool is_member(const char *list, const char *member)
{
    size_t length = strlen(member);

    while (*list != 0) {
        size_t item = strcspn(list, ",");
        if (item == length && strncmp(list, member, length) == 0) {
            return true;
        }
        list += item;
        list += *list == ',';
    }
    return false;
}

static bool match_group(void *context, char *fields[MAX_FIELDS])
{
    struct group_search *search = context;
    struct identity *identity = search->identity;
    int64_t gid = parse_id(fields[2]);

    if (gid < 0) {
        return false;
    }
    if (search->wanted != NULL) {
        if (strcmp(fields[0], search->wanted) == 0 || gid == search->wanted_id) {
            search->found = true;
            identity->gid = (gid_t)gid;
        }
        return search->found;
    }
    if (is_member(fields[3], search->member) && identity->group_count < USER_MAX_GROUPS) {
        identity->groups[identity->group_count++] = (gid_t)gid;
    }
    return false;
}

static int resolve_group(const char *group, const char *group_path, struct identity *identity,
                         struct failure *why)
{
    struct group_search search = {
        .wanted = group, .wanted_id = parse_id(group), .identity = identity};

    read_lines(group_path, match_group, &search);
    if (search.found) {
        return 0;
    }
    if (search.wanted_id < 0) {
        return failure_set(why, "exec", "group \"%s\" is not in the image's /etc/group", group);
    }
    identity->gid = (gid_t)search.wanted_id;
    return 0;
}

int user_resolve(const char *spec, const char *passwd_path, const char *group_path,
                 struct identity *identity, struct failure *why)
{
    char user[256];
    const char *colon = strchr(spec, ':');
    size_t length = colon == NULL ? strlen(spec) : (size_t)(colon - spec);
    const char *group = colon == NULL ? "" : colon + 1;

    memset(identity, 0, sizeof(*identity));
    strcpy(identity->home, "/");
    if (length >= sizeof(user)) {
        return failure_set(why, "exec", "the user's name is longer than %zu bytes",
                           sizeof(user) - 1);
    }
    memcpy(user, spec, length);
    user[length] = 0;

    struct passwd_search search = {
        .wanted = user, .wanted_id = length == 0 ? 0 : parse_id(user), .identity = identity};
    read_lines(passwd_path, match_passwd, &search);
    if (!search.found) {
        if (search.wanted_id < 0) {
            return failure_set(why, "exec", "user \"%s\" is not in the image's /etc/passwd", user);
        }
        identity->uid = (uid_t)search.wanted_id;
    }
    if (group[0] != 0) {
        return resolve_group(group, group_path, identity, why);
    }
    if (search.found) {
        struct group_search memberships = {.member = search.name, .identity = identity};
        read_lines(group_path, match_group, &memberships);
    }
    return 0;
}
