/* An empty volume is filled from a directory of the image. */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "check.h"
#include "copy.h"

static char directory[] = "/tmp/test-copy-XXXXXX";
static struct failure why;

static void run(const char *command)
{
    char text[600];

    snprintf(text, sizeof(text), "cd %s && %s", directory, command);
    CHECK(system(text) == 0);
}

static int copy_to(const char *target)
{
    char source[100], path[100];

    snprintf(source, sizeof(source), "%s/source", directory);
    snprintf(path, sizeof(path), "%s/%s", directory, target);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int result = copy_when_empty(source, fd, &why);
    close(fd);
    return result;
}

static void files_keep_content_owner_mode_times_and_attributes(void)
{
    run("mkdir -p source/deep/er to && echo one >source/file && chmod 4750 source/file && "
        "ln -s file source/link && ln -s /none source/deep/dangling && mkfifo source/deep/er/fifo && "
        "head -c 3000000 /dev/zero >source/deep/large && chmod 1777 source && "
        "touch -d @1000000000 source/file source/deep");
    if (geteuid() == 0) {
        run("chown 1000:2000 source source/file && chown -h 1000:2000 source/link");
    }
    run("setfattr -n user.note -v x source/file 2>/dev/null || true");
    CHECK(copy_to("to") == 0);
    run("diff -r --no-dereference source/deep/large to/deep/large && cmp source/file to/file && "
        "test -p to/deep/er/fifo && "
        "find source -printf '%P %m %U %G %l %y\\n' | sort >one && "
        "find to -printf '%P %m %U %G %l %y\\n' | sort >other && cmp one other && "
        "test \"$(stat -c %Y to/file to/deep)\" = \"$(stat -c %Y source/file source/deep)\" && "
        "getfattr -d source/file | tail -n +2 >one; getfattr -d to/file | tail -n +2 >other; "
        "cmp one other");
}

static void a_directory_with_something_in_it_is_left_alone(void)
{
    run("mkdir -p full && touch full/mine && chmod 700 full");
    CHECK(copy_to("full") == 0);
    run("test \"$(ls full)\" = mine && test \"$(stat -c %a full)\" = 700");
}

static void an_empty_source_gives_its_owner_and_mode(void)
{
    run("mv source old && mkdir source && chmod 1770 source && mkdir nothing && chmod 700 nothing");
    if (geteuid() == 0) {
        run("chown 70:71 source");
    }
    CHECK(copy_to("nothing") == 0);
    run("test -z \"$(ls nothing)\" && test \"$(stat -c '%a %u %g' nothing)\" = \"$(stat -c '%a %u %g' source)\"");
}

static void a_source_that_is_gone_is_told(void)
{
    run("rmdir source");
    CHECK(copy_to("nothing") < 0);
    CHECK_TEXT(why.code, "exec");
    CHECK(strstr(why.message, "cannot be filled") != NULL);
}

int main(void)
{
    CHECK(mkdtemp(directory) != NULL);
    RUN(files_keep_content_owner_mode_times_and_attributes);
    RUN(a_directory_with_something_in_it_is_left_alone);
    RUN(an_empty_source_gives_its_owner_and_mode);
    RUN(a_source_that_is_gone_is_told);
    run("rm -r -- *");
    CHECK(rmdir(directory) == 0);
    return 0;
}
