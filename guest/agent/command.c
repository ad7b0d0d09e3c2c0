#include "command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "environment.h"

/* As a shell exits (POSIX, 2.8.2). */
#define NOT_FOUND 127
#define NOT_EXECUTABLE 126

static int describe(const char *path, int error, struct failure *why)
{
    struct stat status;

    switch (error) {
    case ENOENT:
        if (stat(path, &status) == 0) {
            return failure_set(why, "exec",
                               "command \"%s\" is there, but its interpreter or dynamic loader is "
                               "not in the image",
                               path);
        }
        return failure_set(why, "exec", "command \"%s\" does not exist in the image", path);
    case ENOEXEC:
        return failure_set(why, "exec",
                           "command \"%s\" is neither a program for this architecture nor a "
                           "script that begins with \"#!\"",
                           path);
    case EACCES:
        if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
            return failure_set(why, "exec", "command \"%s\" is a directory", path);
        }
        return failure_set(why, "exec", "command \"%s\" may not be executed by the user", path);
    case E2BIG:
        return failure_set(why, "exec", "the arguments and environment of \"%s\" are too long",
                           path);
    default:
        return failure_set(why, "exec", "command \"%s\" cannot be executed: %s", path,
                           strerror(error));
    }
}

static int explain(const char *path, int error, struct failure *why)
{
    describe(path, error, why);
    why->exit_code = error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
    return -1;
}

static int execute_in_path(char *const *argv, char *const *environment, struct failure *why)
{
    const char *path = environment_get(environment, "PATH");
    int denied = 0;
    char denied_path[PATH_MAX];
    char candidate[PATH_MAX];

    for (const char *at = path == NULL ? "" : path;; at++) {
        size_t length = strcspn(at, ":");
        /* An empty item is the working directory, as in a shell. */
        int written = snprintf(candidate, sizeof(candidate), "%.*s%s%s", (int)length, at,
                               length > 0 ? "/" : "", argv[0]);
        if (written > 0 && (size_t)written < sizeof(candidate)) {
            struct stat status;
            execve(candidate, argv, environment);
            int error = errno;
            if (error == EACCES) {
                denied = EACCES;
                memcpy(denied_path, candidate, sizeof(candidate));
            } else if (stat(candidate, &status) == 0) {
                return explain(candidate, error, why);
            }
        }
        at += length;
        if (*at == 0) {
            break;
        }
    }
    if (denied != 0) {
        return explain(denied_path, denied, why);
    }
    failure_set(why, "exec", "command \"%s\" not found in PATH of the image (%s)", argv[0],
                path == NULL ? "" : path);
    why->exit_code = NOT_FOUND;
    return -1;
}

int command_execute(char *const *argv, char *const *environment, struct failure *why)
{
    if (argv[0][0] == 0) {
        return failure_set(why, "exec", "the command is empty");
    }
    if (strchr(argv[0], '/') == NULL) {
        return execute_in_path(argv, environment, why);
    }
    execve(argv[0], argv, environment);
    return explain(argv[0], errno, why);
}
