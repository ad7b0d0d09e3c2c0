/* Volumes: what requests make and write, in a directory of this test. */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "console.h"
#include "container.h"
#include "fakes.h"
#include "loop.h"
#include "output.h"
#include "request.h"
#include "volume.h"

static void ask(const char *text)
{
    size_t before = fakes.answers;

    request_serve(NULL, 7, text, strlen(text));
    CHECK(fakes.answers == before + 1);
}

static bool ok(void)
{
    return json_is_true(json_object_get(fakes.answer, "ok"));
}

static const char *refusal(const char *key)
{
    return json_string_value(json_object_get(json_object_get(fakes.answer, "error"), key));
}

static void write_file(const char *path, const char *more)
{
    char text[1000];

    snprintf(text, sizeof(text),
             "{\"op\":\"volume.write\",\"name\":\"data\",\"path\":\"%s\",\"data\":\"Zm9v\"%s}", path,
             more);
    ask(text);
}

static void check_file(const char *path, const char *content, mode_t mode)
{
    char full[300], bytes[100] = "";
    struct stat status;

    snprintf(full, sizeof(full), "%s/volumes/data/%s", fakes.store, path);
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &status) == 0);
    CHECK(read(fd, bytes, sizeof(bytes) - 1) >= 0 && close(fd) == 0);
    CHECK_TEXT(bytes, content);
    CHECK((status.st_mode & 07777) == mode);
}

static void a_volume_on_disk_waits_for_the_disk(void)
{
    ask("{\"op\":\"volume.create\",\"name\":\"data\",\"kind\":\"empty\",\"medium\":\"disk\","
        "\"mode\":1023}");
    CHECK(ok());
    write_file("early", "");
    CHECK_TEXT(refusal("code"), "state");
    snprintf(fakes.store, sizeof(fakes.store), "/tmp/test-volume-XXXXXX");
    CHECK(mkdtemp(fakes.store) != NULL);
    write_file("early", "");
    CHECK(ok());
    check_file("early", "foo", 0644);
}

static void files_are_written_whole_or_piece_by_piece(void)
{
    write_file("deep/er/file", ",\"mode\":256");
    CHECK(ok());
    check_file("deep/er/file", "foo", 0400);
    write_file("deep/er/file", ",\"mode\":384,\"append\":true");
    check_file("deep/er/file", "foofoo", 0600);
    write_file("deep/er/file", "");
    check_file("deep/er/file", "foo", 0644);
    ask("{\"op\":\"volume.create\",\"name\":\"data\",\"medium\":\"disk\"}");
    CHECK(ok());
    check_file("deep/er/file", "foo", 0644);
}

static void paths_that_lead_outside_are_refused(void)
{
    static const char *const wrong[] = {"",     "/x",     "../x",   "a/../../x", "dir/",
                                        "up/x", "root/x", "target", "deep"};
    char path[300];

    snprintf(path, sizeof(path), "%s/volumes/data/up", fakes.store);
    CHECK(symlink("..", path) == 0);
    snprintf(path, sizeof(path), "%s/volumes/data/root", fakes.store);
    CHECK(symlink("/", path) == 0);
    snprintf(path, sizeof(path), "%s/volumes/data/target", fakes.store);
    CHECK(symlink("early", path) == 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        write_file(wrong[i], "");
        CHECK(!ok());
    }
    check_file("early", "foo", 0644);
}

static void nonsense_is_refused(void)
{
    static const char *const wrong[] = {
        "{\"op\":\"volume.create\",\"name\":\"../x\"}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"kind\":\"full\"}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"medium\":\"paper\"}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"mode\":4096}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"gid\":-1}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"size_mib\":0}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"upper\":{\"tmpfs_mib\":1}}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"kind\":\"root\"}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"kind\":\"root\",\"layers\":[],"
        "\"upper\":{\"serial\":\"u\"}}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"kind\":\"root\",\"layers\":[\"../l\"],"
        "\"upper\":{\"serial\":\"u\"}}",
        "{\"op\":\"volume.create\",\"name\":\"x\",\"kind\":\"root\",\"layers\":[\"l\"]}",
        "{\"op\":\"volume.write\",\"name\":\"none\",\"path\":\"x\",\"data\":\"\"}",
        "{\"op\":\"volume.write\",\"name\":\"data\",\"path\":\"x\",\"data\":\"?\"}",
        "{\"op\":\"volume.write\",\"name\":\"data\",\"path\":\"x\"}",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ask(wrong[i]);
        CHECK(!ok());
    }
}

static void a_container_names_volumes_that_exist(void)
{
    static const char create[] =
        "{\"op\":\"container.create\",\"name\":\"web\",\"layers\":[\"l\"],\"argv\":[\"x\"],"
        "\"upper\":{\"tmpfs_mib\":1},\"mounts\":[{\"volume\":\"data\",\"path\":\"/b\"},"
        "{\"volume\":\"%s\",\"path\":\"/a\",\"sub_path\":\"x/y\",\"read_only\":true}]}";
    char text[500];

    snprintf(text, sizeof(text), create, "none");
    ask(text);
    CHECK_TEXT(refusal("code"), "invalid");
    /* What was mounted for it is not any more. */
    CHECK(fakes.mounts == 0 && container_find("web") == NULL);
    snprintf(text, sizeof(text), create, "data");
    ask(text);
    CHECK(ok());
    const struct container *web = container_find("web");
    CHECK(web->mount_count == 2);
    CHECK_TEXT(web->mounts[0].path, "/a");
    CHECK_TEXT(web->mounts[0].sub_path, "x/y");
    CHECK(web->mounts[0].read_only && !web->mounts[1].read_only);
}

static void a_root_is_mounted_once_and_is_a_volume_as_any_other(void)
{
    static const char create[] =
        "{\"op\":\"volume.create\",\"name\":\"root.0\",\"kind\":\"root\","
        "\"layers\":[\"l0\",\"l1\"],\"upper\":{\"serial\":\"u\",\"dir\":\"web\"}}";
    int before = fakes.mounts;
    char path[CONTAINER_PATH_MAX];
    struct failure why;

    fakes.mount_fails = true;
    ask(create);
    CHECK_TEXT(refusal("code"), "disk");
    CHECK(volume_find("root.0", path, sizeof(path), &why) < 0);
    fakes.mount_fails = false;
    fakes.mounts = before;
    ask(create);
    CHECK(ok());
    ask(create);
    CHECK(ok());
    CHECK(fakes.mounts == before + 1);
    CHECK(volume_find("root.0", path, sizeof(path), &why) == 0);
    CHECK_TEXT(path, "/run/volume/root.0");
    fakes.mounts = before;
}

static void a_pod_has_at_most_256_volumes(void)
{
    char text[200];

    for (int i = 2; i < 256; i++) {
        snprintf(text, sizeof(text),
                 "{\"op\":\"volume.create\",\"name\":\"v%d\",\"medium\":\"memory\"}", i);
        ask(text);
        CHECK(ok());
    }
    ask("{\"op\":\"volume.create\",\"name\":\"more\",\"medium\":\"memory\"}");
    CHECK_TEXT(refusal("code"), "state");
}

int main(void)
{
    char command[100];

    console_init(output_resume_all);
    CHECK(loop_init() == 0);
    RUN(a_volume_on_disk_waits_for_the_disk);
    RUN(files_are_written_whole_or_piece_by_piece);
    RUN(paths_that_lead_outside_are_refused);
    RUN(nonsense_is_refused);
    RUN(a_container_names_volumes_that_exist);
    RUN(a_root_is_mounted_once_and_is_a_volume_as_any_other);
    RUN(a_pod_has_at_most_256_volumes);
    snprintf(command, sizeof(command), "rm -r %s", fakes.store);
    CHECK(system(command) == 0);
    fakes_reset();
    return 0;
}
