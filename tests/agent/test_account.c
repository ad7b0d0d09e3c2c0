/* What is given to a user of an image: a password in its shadow file, keys in its home. */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "keys.h"
#include "shadow.h"

static char directory[] = "/tmp/test-account-XXXXXX";
static struct failure why;

static void run(const char *command)
{
    char text[1000];

    snprintf(text, sizeof(text), "cd %s && %s", directory, command);
    CHECK(system(text) == 0);
}

static const char *path_of(const char *name)
{
    static char path[4][200];
    static unsigned int next;

    snprintf(path[++next % 4], sizeof(path[0]), "%s/%s", directory, name);
    return path[next % 4];
}

static int set(const char *user, const char *hash)
{
    return shadow_set(path_of("shadow"), user, hash, 20000, &why);
}

static int add(const char *user, char *key)
{
    char *keys[] = {key, key, NULL};

    return keys_add(path_of("passwd"), user, keys, &why);
}

static void a_password_changes_its_user_and_nothing_else(void)
{
    run("printf 'rooty:x:1::\\nroot:*:19000:0:99999:7:::\\n\\nbad\\xff line\\nweb:!:1:2\\nroot:no\\n"
        "tiny:x' >shadow && chmod 640 shadow");
    CHECK(set("root", "$6$salt$hash") == 1);
    run("printf 'rooty:x:1::\\nroot:$6$salt$hash:20000:0:99999:7:::\\n\\nbad\\xff line\\nweb:!:1:2\\n"
        "root:no\\ntiny:x' | cmp - shadow && test $(stat -c %a shadow) = 640");
    CHECK(set("web", "h") == 1 && set("tiny", "t") == 1);
    run("printf 'rooty:x:1::\\nroot:$6$salt$hash:20000:0:99999:7:::\\n\\nbad\\xff line\\n"
        "web:h:20000:2\\nroot:no\\ntiny:t' | cmp - shadow && test \"$(ls -A)\" = shadow");
}

static void a_password_that_is_set_already_leaves_the_file_alone(void)
{
    run("touch -d @1000000000 shadow");
    CHECK(set("web", "h") == 1);
    run("test $(stat -c %Y shadow) = 1000000000");
}

static void a_user_without_an_entry_has_no_password(void)
{
    CHECK(set("roo", "x") == 0 && set("nobody", "x") == 0);
    run("rm shadow");
    CHECK(set("root", "x") == 0);
    run("ln -s no/such shadow");
    CHECK(set("root", "x") == 0);
}

static void a_shadow_file_elsewhere_is_replaced_where_it_is(void)
{
    run("mkdir real && printf 'root:*:1:\\n' >real/file && ln -sf real/file shadow");
    CHECK(set("root", "h") == 1);
    run("test -L shadow && printf 'root:h:20000:\\n' | cmp - real/file");
    run("rm -r real shadow && mkfifo shadow");
    CHECK(set("root", "x") == -1);
    CHECK_TEXT(why.code, "invalid");
    run("rm shadow && head -c 2000000 /dev/zero >shadow");
    CHECK(set("root", "x") == -1);
    run("rm shadow");
}

static void make_passwd(void)
{
    char text[400];

    snprintf(text, sizeof(text),
             "printf 'root:x:0:0:root:%s/root/:/bin/sh\\nweb:x:%u:%u::%s/deep/home/web:\\n"
             "none:x:1:1::/:\\nlost:x:1:1::relative:\\n' >passwd",
             directory, getuid(), getgid(), directory);
    run(text);
}

static void keys_are_added_once_and_what_is_missing_is_made(void)
{
    make_passwd();
    CHECK(add("root", "ssh-ed25519 AAAA one") == 1);
    CHECK(add("root", "ssh-ed25519 AAAA one") == 1);
    CHECK(add("root", "ssh-ed25519 AAAA") == 1);
    run("printf 'ssh-ed25519 AAAA one\\nssh-ed25519 AAAA\\n' | cmp - root/.ssh/authorized_keys && "
        "test \"$(stat -c %a root root/.ssh root/.ssh/authorized_keys | tr '\\n' ' ')\" = "
        "'700 700 600 ' && test \"$(ls -A root/.ssh)\" = authorized_keys");
    CHECK(add("web", "k") == 1);
    run("test \"$(stat -c %a deep deep/home deep/home/web | tr '\\n' ' ')\" = '755 755 700 '");
}

static void keys_that_are_there_stay(void)
{
    run("printf 'mine' >root/.ssh/authorized_keys && chmod 644 root/.ssh/authorized_keys && "
        "chmod 755 root root/.ssh");
    CHECK(add("root", "yours") == 1);
    run("printf 'mine\\nyours\\n' | cmp - root/.ssh/authorized_keys && "
        "test \"$(stat -c %a root root/.ssh root/.ssh/authorized_keys | tr '\\n' ' ')\" = "
        "'755 755 644 '");
}

static void who_is_unknown_or_has_no_home_gets_none(void)
{
    CHECK(add("nobody", "k") == 0 && add("none", "k") == 0 && add("lost", "k") == 0);
    run("mv passwd old");
    CHECK(add("root", "k") == 0);
    run("mv old passwd");
}

static void links_that_a_user_may_have_put_are_not_followed(void)
{
    run("mkdir outside && rm -r root/.ssh && ln -s ../outside root/.ssh");
    CHECK(add("root", "k") == -1);
    CHECK_TEXT(why.code, "invalid");
    run("test -z \"$(ls outside)\" && rm root/.ssh && mkdir root/.ssh && echo keep >outside/file && "
        "ln -s ../../outside/file root/.ssh/authorized_keys");
    CHECK(add("root", "k") == -1);
    run("test \"$(cat outside/file)\" = keep && rm root/.ssh/authorized_keys && "
        "mkfifo root/.ssh/authorized_keys");
    CHECK(add("root", "k") == -1);
    run("rm root/.ssh/authorized_keys && mkdir root/.ssh/authorized_keys");
    CHECK(add("root", "k") == -1);
}

int main(void)
{
    char command[100];

    CHECK(mkdtemp(directory) != NULL);
    RUN(a_password_changes_its_user_and_nothing_else);
    RUN(a_password_that_is_set_already_leaves_the_file_alone);
    RUN(a_user_without_an_entry_has_no_password);
    RUN(a_shadow_file_elsewhere_is_replaced_where_it_is);
    RUN(keys_are_added_once_and_what_is_missing_is_made);
    RUN(keys_that_are_there_stay);
    RUN(who_is_unknown_or_has_no_home_gets_none);
    RUN(links_that_a_user_may_have_put_are_not_followed);
    snprintf(command, sizeof(command), "rm -r %s", directory);
    CHECK(system(command) == 0);
    return 0;
}
