/* Archives: what is packed comes out again, and nothing harms who reads one. */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "pack.h"
#include "tar.h"
#include "unpack.h"

#define ROUNDS 3000

static char top[] = "/tmp/test-tar-XXXXXX";

/* A process of its own, since both change the working directory; 0 or why it failed. */
static int in_child(void (*body)(int in, int out), int in, int out)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        body(in, out);
        exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void pack_source(int in, int out)
{
    struct failure why = {.message = ""};

    (void)in;
    CHECK(chdir(top) == 0);
    CHECK(pack_tree(out, open(".", O_RDONLY | O_DIRECTORY), "source", "as", &why) == 0);
}

static void unpack_target(int in, int out)
{
    struct failure why = {.message = ""};

    (void)out;
    CHECK(chdir(top) == 0 && chdir("target") == 0);
    CHECK(unpack(in, &why) == 0);
}

static void make_source(void)
{
    char name[300];

    CHECK(mkdtemp(top) != NULL && chdir(top) == 0);
    CHECK(mkdir("source", 0700) == 0 && mkdir("target", 0700) == 0);
    CHECK(chdir("source") == 0);
    int fd = open("file", O_WRONLY | O_CREAT, 0600);
    for (int i = 0; i < 3000; i++) {
        CHECK(write(fd, "0123456789", 10) == 10);
    }
    CHECK(fchmod(fd, 0640) == 0);
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                      {.tv_sec = -7, .tv_nsec = 250000000}};
    CHECK(futimens(fd, times) == 0);
    close(fd);
    CHECK(link("file", "again") == 0);
    memset(name, 'n', 250);
    name[250] = 0;
    CHECK(symlink(name, "link") == 0);
    CHECK(mkdir(name, 0751) == 0);
    strcat(name, "/\xff\n odd");
    CHECK(mkfifo(name, 0622) == 0);
    CHECK(chdir("/") == 0);
}

static void compare_content(const char *source, const char *target)
{
    static char before[64 * 1024], after[sizeof(before)];
    int one = open(source, O_RDONLY), other = open(target, O_RDONLY);
    ssize_t size = read(one, before, sizeof(before));

    CHECK(size >= 0 && read(other, after, sizeof(after)) == size);
    CHECK(memcmp(before, after, (size_t)size) == 0);
    close(one);
    close(other);
}

static void compare(const char *path)
{
    char source[600], target[600];
    struct stat before, after;

    snprintf(source, sizeof(source), "%s/source/%s", top, path);
    snprintf(target, sizeof(target), "%s/target/as/%s", top, path);
    CHECK(lstat(source, &before) == 0 && lstat(target, &after) == 0);
    CHECK(before.st_mode == after.st_mode && before.st_size == after.st_size);
    CHECK(before.st_mtim.tv_sec == after.st_mtim.tv_sec);
    CHECK(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    if (!S_ISDIR(before.st_mode)) {
        CHECK(before.st_nlink == after.st_nlink);
    }
    if (S_ISREG(before.st_mode)) {
        compare_content(source, target);
    }
    if (S_ISLNK(before.st_mode)) {
        char one[600] = "", other[600] = "";
        CHECK(readlink(source, one, sizeof(one) - 1) > 0);
        CHECK(readlink(target, other, sizeof(other) - 1) > 0);
        CHECK_TEXT(one, other);
    }
}

static void a_tree_comes_out_as_it_went_in(void)
{
    char name[300];
    char path[100];

    make_source();
    snprintf(path, sizeof(path), "%s/archive", top);
    int out = open(path, O_RDWR | O_CREAT, 0600);
    CHECK(in_child(pack_source, -1, out) == 0);
    CHECK(lseek(out, 0, SEEK_SET) == 0);
    CHECK(in_child(unpack_target, out, -1) == 0);
    close(out);
    compare("file");
    compare("again");
    compare("link");
    memset(name, 'n', 250);
    strcpy(name + 250, "");
    compare(name);
    strcpy(name + 250, "/\xff\n odd");
    compare(name);
}

static void pack_link_of_proc(int in, int out)
{
    struct failure why = {.message = ""};

    (void)in;
    CHECK(pack_tree(out, open("/proc/self", O_RDONLY | O_DIRECTORY), "cwd", "cwd", &why) == 0);
}

static void a_link_that_has_no_size_is_read(void)
{
    struct failure why;
    struct tar_member member;
    int fd = open(top, O_TMPFILE | O_RDWR, 0600);

    CHECK(in_child(pack_link_of_proc, -1, fd) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    CHECK(tar_read_member(fd, &member, &why) == 1 && member.type == '2');
    CHECK(member.link[0] == '/');
    tar_member_clear(&member);
    close(fd);
}

/* Read all members of the archive in a file, however it is made; the failure's code, "" without. */
static void read_all(int fd, struct failure *why)
{
    struct tar_member member;

    why->code[0] = 0;
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    for (int members = 0; members < 1000 && tar_read_member(fd, &member, why) == 1; members++) {
        CHECK(member.name != NULL && member.link != NULL && member.size >= 0);
        int skipped = tar_skip(fd, member.size + tar_padding(member.size), why);
        tar_member_clear(&member);
        if (skipped < 0) {
            break;
        }
    }
}

static void broken_archives_are_refused_or_read_but_never_harm(void)
{
    static char whole[256 * 1024], bytes[sizeof(whole)];
    char path[100];
    uint64_t state = 0x123456789abcdef;
    struct failure why;

    snprintf(path, sizeof(path), "%s/archive", top);
    int fd = open(path, O_RDWR);
    ssize_t size = read(fd, whole, sizeof(whole));
    CHECK(size > 4096);
    read_all(fd, &why);
    CHECK_TEXT(why.code, "");
    int other = open(top, O_TMPFILE | O_RDWR, 0600);
    for (int round = 0; round < ROUNDS; round++) {
        size_t length = (size_t)size;
        memcpy(bytes, whole, length);
        for (uint64_t i = random_next(&state) % 20; i > 0; i--) {
            size_t at = random_next(&state) % length;
            bytes[at] = (char)random_next(&state);
        }
        if (round % 3 == 0) {
            length = random_next(&state) % length;
        }
        /* A checksum that fits lets the reader come further. */
        for (size_t at = 0; round % 2 == 0 && at + TAR_BLOCK <= length; at += TAR_BLOCK) {
            struct tar_header *header = (struct tar_header *)(bytes + at);
            unsigned int sum = 0;
            if (memcmp(header->magic, "ustar", 5) != 0) {
                continue;
            }
            memset(header->checksum, ' ', sizeof(header->checksum));
            for (size_t i = 0; i < TAR_BLOCK; i++) {
                sum += (unsigned char)bytes[at + i];
            }
            char text[8];
            snprintf(text, sizeof(text), "%06o", sum % 0777777);
            memcpy(header->checksum, text, sizeof(text));
        }
        CHECK(ftruncate(other, 0) == 0 && pwrite(other, bytes, length, 0) == (ssize_t)length);
        read_all(other, &why);
    }
    close(other);
    close(fd);
}

static const char *refusal_of(const struct tar_member *member)
{
    static struct failure why;
    int fd = open(top, O_TMPFILE | O_RDWR, 0600);
    char target[100];

    snprintf(target, sizeof(target), "%s/target", top);
    CHECK(tar_write_member(fd, member) == 0 && tar_write_end(fd) == 0);
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && chdir(target) == 0);
    why.code[0] = 0;
    CHECK(unpack(fd, &why) == (why.code[0] == 0 ? 0 : -1));
    CHECK(chdir("/") == 0);
    close(fd);
    return why.code;
}

static void names_that_lead_outside_are_refused(void)
{
    static char outside[] = "../outside", deep[] = "a/../../outside", absolute[] = "//inside",
                link[] = "linked", target[] = "../outside";
    char path[100];
    struct stat status;

    CHECK_TEXT(refusal_of(&(struct tar_member){.type = '5', .name = outside}), "invalid");
    CHECK_TEXT(refusal_of(&(struct tar_member){.type = '0', .name = deep}), "invalid");
    CHECK_TEXT(refusal_of(&(struct tar_member){.type = '1', .name = link, .link = target}),
               "invalid");
    CHECK_TEXT(refusal_of(&(struct tar_member){.type = '5', .name = absolute, .mode = 0700}), "");
    snprintf(path, sizeof(path), "%s/target/inside", top);
    CHECK(stat(path, &status) == 0);
    snprintf(path, sizeof(path), "%s/outside", top);
    CHECK(stat(path, &status) < 0);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

int main(void)
{
    RUN(a_tree_comes_out_as_it_went_in);
    RUN(a_link_that_has_no_size_is_read);
    RUN(broken_archives_are_refused_or_read_but_never_harm);
    RUN(names_that_lead_outside_are_refused);
    return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
