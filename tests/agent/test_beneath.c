/* Files below a directory that somebody hostile has filled. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "check.h"

static char directory[] = "/tmp/test-beneath-XXXXXX";
static int top;

static void set_up(void)
{
    CHECK(mkdtemp(directory) != NULL);
    top = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(top >= 0 && mkdirat(top, "in", 0755) == 0);
    CHECK(symlinkat("/", top, "root") == 0 && symlinkat("..", top, "up") == 0);
    CHECK(symlinkat("in", top, "fine") == 0 && symlinkat("/proc/self/cwd", top, "magic") == 0);
    CHECK(symlinkat("loop", top, "loop") == 0);
}

static void tear_down(void)
{
    char command[100];

    close(top);
    snprintf(command, sizeof(command), "rm -r %s", directory);
    CHECK(system(command) == 0);
}

static void what_is_inside_is_made_and_found(void)
{
    int fd = beneath_make_directories(top, "a/b//c", 0750);
    struct stat status;

    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(fstatat(top, "a/b/c", &status, 0) == 0 && (status.st_mode & 07777) == 0750);
    fd = beneath_make_directories(top, "fine/d", 0755);
    CHECK(fd >= 0 && close(fd) == 0 && fstatat(top, "in/d", &status, 0) == 0);
    fd = beneath_make_directories(top, "", 0755);
    CHECK(fd >= 0 && close(fd) == 0);
    fd = beneath_open(top, "in/file", O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && close(fd) == 0 && fstatat(top, "in/file", &status, 0) == 0);
}

static void nothing_outside_is_made_or_found(void)
{
    static const char *const wrong[] = {"/etc",     "..",       "../x",      "a/../../x", "root/etc",
                                        "up/x",     "magic/x",  "fine/../../x", "root",   "up"};
    char name[300];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int fd = beneath_open(top, wrong[i], O_PATH, 0);
        CHECK(fd < 0 && (errno == EXDEV || errno == ELOOP || errno == ENOENT));
        CHECK(beneath_make_directories(top, wrong[i], 0755) < 0);
    }
    CHECK(beneath_open(top, "loop", O_PATH, 0) < 0 && errno == ELOOP);
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    CHECK(beneath_make_directories(top, name, 0755) < 0 && errno == ENAMETOOLONG);
}

int main(void)
{
    set_up();
    RUN(what_is_inside_is_made_and_found);
    RUN(nothing_outside_is_made_or_found);
    tear_down();
    return 0;
}
