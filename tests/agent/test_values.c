/* The small parsers: environment, base64, signals, addresses, names, messages. */

#include <arpa/inet.h>
#include <signal.h>

#include "base64.h"
#include "capability.h"
#include "decimal.h"
#include "check.h"
#include "environment.h"
#include "ext4.h"
#include "failure.h"
#include "field.h"
#include "netlink.h"
#include "stopsignal.h"
#include "sysctl.h"
#include "wallclock.h"

static void the_environment_is_completed_only_where_something_is_missing(void)
{
    char *given[] = {"A=1", "HOME=/mine", "PATHX=no", NULL};
    char **complete = environment_complete(given, "/root", "host");

    CHECK_TEXT(complete[0], "A=1");
    CHECK_TEXT(environment_get(complete, "HOME"), "/mine");
    CHECK_TEXT(environment_get(complete, "HOSTNAME"), "host");
    CHECK(strstr(environment_get(complete, "PATH"), "/usr/bin") != NULL);
    CHECK(environment_get(complete, "MISSING") == NULL);
    CHECK(complete[5] == NULL);
    environment_free(complete, given);
}

static void an_empty_value_is_not_missing(void)
{
    char *given[] = {"PATH=", "HOME=", "HOSTNAME=", NULL};
    char **complete = environment_complete(given, "/root", "host");

    CHECK(complete[3] == NULL);
    environment_free(complete, given);
}

static void base64_is_decoded(void)
{
    static const struct {
        const char *text, *bytes;
    } known[] = {{"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"Zm9vYmE=", "fooba"}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        uint8_t bytes[8];
        size_t count;
        CHECK(base64_decode(known[i].text, bytes, sizeof(bytes), &count) == 0);
        CHECK(count == strlen(known[i].bytes) && memcmp(bytes, known[i].bytes, count) == 0);
    }
}

static void what_is_not_base64_is_refused(void)
{
    static const char *const wrong[] = {"Z",    "Zg=",  "Zg",    "====", "=Zg=", "Z===",
                                        "Zm9*", "Zm 9", "Zg==Zg==", "Zm9v\n", "Zm9vYmFyYmF6"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t bytes[8];
        size_t count;
        CHECK(base64_decode(wrong[i], bytes, sizeof(bytes), &count) < 0);
    }
}

static void random_base64_never_writes_outside(void)
{
    static const char alphabet[] = "ABCDabcd0189+/==*";
    uint64_t state = 7;

    for (int round = 0; round < 20000; round++) {
        char text[40];
        uint8_t *bytes = malloc(9);
        size_t count, length = random_next(&state) % 24;
        for (size_t i = 0; i < length; i++) {
            text[i] = alphabet[random_next(&state) % (sizeof(alphabet) - 1)];
        }
        text[length] = 0;
        if (base64_decode(text, bytes, 9, &count) == 0) {
            CHECK(count <= 9);
        }
        free(bytes);
    }
}

static void signals_have_names_and_numbers(void)
{
    static const struct {
        const char *text;
        int number;
    } known[] = {{"SIGTERM", SIGTERM}, {"TERM", SIGTERM}, {"sigquit", SIGQUIT}, {"15", 15},
                 {"9", 9}, {"SIGRTMIN+3", 37}, {"RTMIN", 34}, {"SIGRTMAX", 64}, {"RTMAX-2", 62},
                 {"SIGWINCH", SIGWINCH}};
    static const char *const wrong[] = {"", "SIG", "0", "65", "-1", "SIGNONE", "15x", "RTMIN+",
                                        "RTMIN-1", "RTMIN+31", "RTMAX+1", "SIGRTMIN+99999999999"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        CHECK(stopsignal_parse(known[i].text) == known[i].number);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK(stopsignal_parse(wrong[i]) < 0);
    }
}

static void addresses_have_a_family_and_a_prefix(void)
{
    struct network_address address;

    CHECK(network_address_parse("10.0.0.5/24", &address) == 0);
    CHECK(address.family == AF_INET && address.prefix == 24 && address.bytes[3] == 5);
    CHECK(network_address_parse("10.0.0.5", &address) == 0 && address.prefix == 32);
    CHECK(network_address_parse("0.0.0.0/0", &address) == 0 && address.prefix == 0);
    CHECK(network_address_parse("fd00::1/64", &address) == 0);
    CHECK(address.family == AF_INET6 && address.prefix == 64 && address.bytes[15] == 1);
    CHECK(network_address_parse("::/0", &address) == 0 && address.prefix == 0);
}

static void what_is_not_an_address_is_refused(void)
{
    static const char *const wrong[] = {"", "/", "10.0.0.5/", "10.0.0.5/33", "10.0.0/24",
                                        "10.0.0.5/-1", "10.0.0.5/+4", "10.0.0.5/2x", "fd00::1/129",
                                        "10.0.0.5/ 24", "host", "1:2:3:4:5:6:7:8:9",
                                        "10.0.0.5/99999999999999999999"};
    struct network_address address;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK(network_address_parse(wrong[i], &address) < 0);
    }
}

static void kernel_parameters_are_files_below_proc_sys(void)
{
    static const struct {
        const char *name, *path;
    } known[] = {
        {"kernel.shm_rmid_forced", "/proc/sys/kernel/shm_rmid_forced"},
        {"net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"},
        {"net/ipv4/conf/eth0.100/forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"},
        {"single", "/proc/sys/single"},
    };
    static const char *const wrong[] = {"", ".", "..", "/", "a..b", "a.", ".a", "a/../b", "a//b",
                                        "../../etc/passwd", "a.\n", "a b", "a/./b"};
    char path[300], text[600];

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        CHECK(sysctl_path(known[i].name, path, sizeof(path)) == 0);
        CHECK_TEXT(path, known[i].path);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK(sysctl_path(wrong[i], path, sizeof(path)) < 0);
    }
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    CHECK(sysctl_path(text, path, sizeof(path)) < 0);
}

static void dates_are_those_of_the_calendar(void)
{
    uint64_t state = 11;

    for (int round = 0; round < 100000; round++) {
        time_t seconds = (time_t)(random_next(&state) % 253402300800);
        struct tm date, expected;
        wallclock_split(seconds, &date);
        CHECK(gmtime_r(&seconds, &expected) != NULL);
        CHECK(date.tm_year == expected.tm_year && date.tm_mon == expected.tm_mon);
        CHECK(date.tm_mday == expected.tm_mday && date.tm_hour == expected.tm_hour);
        CHECK(date.tm_min == expected.tm_min && date.tm_sec == expected.tm_sec);
    }
}

static void numbers_are_read_as_far_as_there_are_any(void)
{
    uint64_t numbers[3];

    CHECK(decimal_read(" 1 -1\t18446744073709551615 4", numbers, 3) == 3);
    CHECK(numbers[0] == 1 && numbers[1] == UINT64_MAX && numbers[2] == UINT64_MAX);
    CHECK(decimal_read("7 x", numbers, 3) == 1 && numbers[0] == 7);
    CHECK(decimal_read("", numbers, 3) == 0);
}

static void capabilities_have_names(void)
{
    CHECK(capability_parse("CAP_CHOWN") == 0 && capability_parse("CAP_SYS_ADMIN") == 21);
    CHECK(capability_parse("CAP_CHECKPOINT_RESTORE") == CAPABILITY_COUNT - 1);
    CHECK(capability_parse("") < 0 && capability_parse("CHOWN") < 0);
    CHECK(capability_parse("cap_chown") < 0 && capability_parse("CAP_CHOWN ") < 0);
}

static void names_are_safe_as_file_names(void)
{
    CHECK(field_is_name("web-1.example_x", 63));
    CHECK(!field_is_name("", 63) && !field_is_name(".", 63) && !field_is_name("..", 63));
    CHECK(!field_is_name("a/b", 63) && !field_is_name("-x", 63) && !field_is_name("a b", 63));
    CHECK(!field_is_name("abcd", 3) && !field_is_name("a\n", 63) && !field_is_name("a:b", 63));
}

static void messages_are_cut_at_whole_characters(void)
{
    struct failure why;
    char text[1200];

    for (size_t lead = 995; lead < 1010; lead++) {
        memset(text, 'x', lead);
        strcpy(text + lead, "\xe2\x82\xac\xf0\x9f\x90\xa7\xe2\x82\xac");
        failure_set(&why, "exec", "%s", text);
        CHECK(strlen(why.message) >= lead || lead > 1000);
        json_t *value = json_string(why.message);
        CHECK(value != NULL);
        json_decref(value);
    }
    failure_set(&why, "exec", "%s", "good\xff bad");
    CHECK_TEXT(why.message, "good");
}

/* A superblock of *blocks* blocks of 4 KiB. */
static void write_superblock(uint8_t superblock[EXT4_SUPERBLOCK_SIZE], uint64_t blocks)
{
    memset(superblock, 0, EXT4_SUPERBLOCK_SIZE);
    for (int i = 0; i < 4; i++) {
        superblock[0x4 + i] = (uint8_t)(blocks >> 8 * i);
        superblock[0x150 + i] = (uint8_t)(blocks >> 8 * (i + 4));
    }
    superblock[0x18] = 2;
    superblock[0x38] = 0x53;
    superblock[0x39] = 0xef;
    superblock[0x60] = 0x80;
}

static void a_file_system_grows_to_all_of_a_larger_device(void)
{
    const uint64_t gib = 1024 * 1024 * 1024, blocks = gib / 4096;
    uint8_t superblock[EXT4_SUPERBLOCK_SIZE];

    write_superblock(superblock, blocks);
    CHECK(ext4_blocks_to_grow_to(superblock, gib) == 0);
    CHECK(ext4_blocks_to_grow_to(superblock, 2 * gib) == 2 * blocks);
    CHECK(ext4_blocks_to_grow_to(superblock, 2 * gib + 4095) == 2 * blocks);
    /* Less than a group of blocks is what the kernel could not use either. */
    CHECK(ext4_blocks_to_grow_to(superblock, gib + gib / 8 - 4096) == 0);
    CHECK(ext4_blocks_to_grow_to(superblock, gib + gib / 8) == blocks + blocks / 8);
    CHECK(ext4_blocks_to_grow_to(superblock, gib / 2) == 0);
    CHECK(ext4_blocks_to_grow_to(superblock, 0) == 0);
    write_superblock(superblock, (uint64_t)1 << 33);
    CHECK(ext4_blocks_to_grow_to(superblock, (uint64_t)1 << 45) == 0);
    CHECK(ext4_blocks_to_grow_to(superblock, (uint64_t)1 << 46) == (uint64_t)1 << 34);
    write_superblock(superblock, UINT64_MAX);
    CHECK(ext4_blocks_to_grow_to(superblock, UINT64_MAX) == 0);
}

static void what_is_not_ext4_does_not_grow(void)
{
    uint8_t superblock[EXT4_SUPERBLOCK_SIZE];

    write_superblock(superblock, 1 << 18);
    superblock[0x38] = 0;
    CHECK(ext4_blocks_to_grow_to(superblock, (uint64_t)1 << 40) == 0);
    write_superblock(superblock, 1 << 18);
    superblock[0x18] = 200;
    CHECK(ext4_blocks_to_grow_to(superblock, (uint64_t)1 << 40) == 0);
}

int main(void)
{
    RUN(the_environment_is_completed_only_where_something_is_missing);
    RUN(an_empty_value_is_not_missing);
    RUN(base64_is_decoded);
    RUN(what_is_not_base64_is_refused);
    RUN(random_base64_never_writes_outside);
    RUN(signals_have_names_and_numbers);
    RUN(addresses_have_a_family_and_a_prefix);
    RUN(what_is_not_an_address_is_refused);
    RUN(kernel_parameters_are_files_below_proc_sys);
    RUN(dates_are_those_of_the_calendar);
    RUN(numbers_are_read_as_far_as_there_are_any);
    RUN(capabilities_have_names);
    RUN(names_are_safe_as_file_names);
    RUN(messages_are_cut_at_whole_characters);
    RUN(a_file_system_grows_to_all_of_a_larger_device);
    RUN(what_is_not_ext4_does_not_grow);
    return 0;
}
