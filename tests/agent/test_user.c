#include <unistd.h>

#include "check.h"
#include "user.h"

static char passwd[] = "/tmp/agent-passwd-XXXXXX";
static char group[] = "/tmp/agent-group-XXXXXX";

static void fill(char *path, const char *text)
{
    int fd = mkstemp(path);

    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static struct identity resolve(const char *spec)
{
    struct identity identity;
    struct failure why;

    CHECK(user_resolve(spec, passwd, group, &identity, &why) == 0);
    return identity;
}

static void nothing_is_root(void)
{
    struct identity identity = resolve("");

    CHECK(identity.uid == 0 && identity.gid == 0);
    CHECK_TEXT(identity.home, "/root");
}

static void a_name_brings_its_group_home_and_memberships(void)
{
    struct identity identity = resolve("web");

    CHECK(identity.uid == 1000 && identity.gid == 1001);
    CHECK_TEXT(identity.home, "/home/web");
    CHECK(identity.group_count == 2 && identity.groups[0] == 2000 && identity.groups[1] == 2001);
}

static void a_number_with_an_entry_is_that_user(void)
{
    struct identity identity = resolve("1000");

    CHECK(identity.uid == 1000 && identity.gid == 1001 && identity.group_count == 2);
    CHECK_TEXT(identity.home, "/home/web");
}

static void a_number_without_an_entry_is_just_that(void)
{
    struct identity identity = resolve("4242");

    CHECK(identity.uid == 4242 && identity.gid == 0 && identity.group_count == 0);
    CHECK_TEXT(identity.home, "/");
}

static void a_group_replaces_the_memberships(void)
{
    struct identity identity = resolve("web:logs");

    CHECK(identity.gid == 2000 && identity.group_count == 0);
    identity = resolve("web:77");
    CHECK(identity.uid == 1000 && identity.gid == 77);
    identity = resolve("5:6");
    CHECK(identity.uid == 5 && identity.gid == 6);
}

static void a_name_that_is_part_of_another_is_no_member(void)
{
    struct identity identity = resolve("we");

    CHECK(identity.uid == 1002 && identity.group_count == 0);
}

static void unknown_names_are_named(void)
{
    struct identity identity;
    struct failure why;

    CHECK(user_resolve("ghost", passwd, group, &identity, &why) < 0);
    CHECK_TEXT(why.code, "exec");
    CHECK_TEXT(why.message, "user \"ghost\" is not in the image's /etc/passwd");
    CHECK(user_resolve("web:ghosts", passwd, group, &identity, &why) < 0);
    CHECK_TEXT(why.message, "group \"ghosts\" is not in the image's /etc/group");
    CHECK(user_resolve("99999999999", passwd, group, &identity, &why) < 0);
    CHECK(user_resolve("-1", passwd, group, &identity, &why) < 0);
}

static void missing_and_strange_files_are_empty_ones(void)
{
    static const char *const files[] = {"/no/such/file", "/dev/zero", "/tmp", "/dev/null"};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct identity identity;
        struct failure why;
        CHECK(user_resolve("7:8", files[i], files[i], &identity, &why) == 0);
        CHECK(identity.uid == 7 && identity.gid == 8);
        CHECK(user_resolve("", files[i], files[i], &identity, &why) == 0);
        CHECK(identity.uid == 0);
        CHECK(user_resolve("web", files[i], files[i], &identity, &why) < 0);
    }
}

static void names_of_any_length_are_safe(void)
{
    struct identity identity;
    struct failure why;
    char spec[2000];

    memset(spec, 'x', sizeof(spec));
    for (size_t length = 200; length < sizeof(spec); length += 55) {
        char kept = spec[length];
        spec[length] = 0;
        CHECK(user_resolve(spec, passwd, group, &identity, &why) < 0);
        spec[length] = kept;
    }
}

static void random_files_are_safe(void)
{
    uint64_t state = 42;
    const char alphabet[] = "web:0123,:\n:root\xff#";

    for (int round = 0; round < 300; round++) {
        char path[] = "/tmp/agent-random-XXXXXX";
        char text[400];
        struct identity identity;
        struct failure why;
        for (size_t i = 0; i < sizeof(text) - 1; i++) {
            text[i] = alphabet[random_next(&state) % (sizeof(alphabet) - 1)];
        }
        text[sizeof(text) - 1] = 0;
        fill(path, text);
        user_resolve("web", path, path, &identity, &why);
        user_resolve("0:web", path, path, &identity, &why);
        unlink(path);
    }
}

int main(void)
{
    fill(passwd, "# a comment\n\nbroken\nroot:x:0:0:root:/root:/bin/sh\nbad:x:abc:0::/:\n"
                 "web:x:1000:1001:web,,,:/home/web:/bin/sh\nwe:x:1002:1002::/home/we:\r\n");
    fill(group, "root:x:0:\nlogs:x:2000:adm,web\nbad:x:q:web\nmore:x:2001:web\n");
    RUN(nothing_is_root);
    RUN(a_name_brings_its_group_home_and_memberships);
    RUN(a_number_with_an_entry_is_that_user);
    RUN(a_number_without_an_entry_is_just_that);
    RUN(a_group_replaces_the_memberships);
    RUN(a_name_that_is_part_of_another_is_no_member);
    RUN(unknown_names_are_named);
    RUN(missing_and_strange_files_are_empty_ones);
    RUN(names_of_any_length_are_safe);
    RUN(random_files_are_safe);
    unlink(passwd);
    unlink(group);
    return 0;
}
