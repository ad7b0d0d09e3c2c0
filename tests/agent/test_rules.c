/* The rules of a container.create: what is read from good ones, and from mutations of them. */

#include "check.h"
#include "console.h"
#include "container.h"
#include "fakes.h"
#include "loop.h"
#include "output.h"

#define RULES                                                                                    \
    "{\"restart\":{\"policy\":\"always\",\"initial_ms\":1,\"max_ms\":5,\"reset_ms\":9,"              \
    "\"max_retries\":2},\"resources\":{\"memory_max\":9999999,\"cpu_quota_us\":50000,"              \
    "\"cpu_weight\":1,\"pids_max\":2},\"security\":{\"readonly_root\":true,\"capabilities\":"        \
    "[\"CAP_CHOWN\",\"CAP_KILL\"],\"no_new_privs\":true,\"seccomp\":\"BgAAAAAA/38=\",\"groups\":"    \
    "[1,2]},\"mounts\":[{\"volume\":\"v\",\"path\":\"/v\",\"sub_path\":\"a/b\",\"read_only\":true,"    \
    "\"copy\":true}],\"probes\":{\"liveness\":{\"exec\":{\"argv\":[\"x\",\"y\"]},\"delay_ms\":1},"     \
    "\"readiness\":{\"http\":{\"port\":80,\"path\":\"/x\",\"headers\":[[\"a\",\"b\"],[\"HOST\","       \
    "\"h\"]]},\"successes\":2},\"startup\":{\"tcp\":{\"port\":80,\"host\":\"::1\"},\"period_ms\":50}," \
    "\"health\":{\"tcp\":{\"port\":1},\"timeout_ms\":7,\"failures\":8}}}"

static int read_rules(const json_t *request, struct container *container)
{
    struct failure why = {.code = "", .message = ""};

    if (restart_parse(request, &container->supervision.restart, &why) < 0 ||
        resources_parse(request, &container->resources, &why) < 0 ||
        security_parse(request, &container->security, &why) < 0 ||
        health_parse(request, &container->health, &why) < 0 ||
        mount_parse(request, container->mounts, &container->mount_count, &why) < 0) {
        CHECK(strcmp(why.code, "invalid") == 0 && strlen(why.message) > 10);
        return -1;
    }
    return 0;
}

static void good_rules_are_read(void)
{
    struct container *container = container_new("x");
    json_t *request = json_loads(RULES, 0, NULL);

    CHECK(read_rules(request, container) == 0);
    json_decref(request);
    CHECK(container->supervision.restart.policy == RESTART_ALWAYS);
    CHECK(container->supervision.restart.max_retries == 2);
    CHECK(container->resources.cpu_quota_us == 50000 && container->resources.pids_max == 2);
    CHECK(container->security.capabilities == (1 | 1 << 5));
    CHECK(container->security.drops_capabilities && container->security.no_new_privs);
    CHECK(container->security.filter_length == 1 && container->security.filter[0].code == 6);
    CHECK(container->security.filter[0].k == 0x7fff0000 && container->security.group_count == 2);
    CHECK(container->mount_count == 1 && container->mounts[0].copy);
    CHECK_TEXT(container->health.liveness->argv[1], "y");
    CHECK_TEXT(container->health.readiness->headers, "a: b\r\nHOST: h\r\n");
    CHECK(container->health.readiness->has_host_header);
    CHECK(container->health.startup->period_ms == 50 && container->health.check->failures == 8);
    container_free(container);
}

static void no_rules_restrict_nothing(void)
{
    struct container *container = container_new("x");
    json_t *request = json_loads("{\"restart\":null,\"security\":{\"capabilities\":null}}", 0, NULL);

    CHECK(read_rules(request, container) == 0);
    json_decref(request);
    CHECK(container->supervision.restart.policy == RESTART_NEVER);
    CHECK(!container->security.drops_capabilities && container->security.filter == NULL);
    CHECK(container->resources.memory_max == 0 && container->mount_count == 0);
    CHECK(container->health.liveness == NULL);
    container_free(container);
}

/* Whatever does not make sense is refused with a sentence, and leaks nothing. */
static void random_rules_are_read_or_refused(void)
{
    static const char *const values[] = {"null", "-1", "[]", "{}", "\"\"", "1e99", "true", "99999",
                                         "9999999999999999999", "\"\\u0000\"", "[[[]]]", "\"../x\""};
    uint64_t state = 4242;
    size_t whole = 0, good = 0;

    for (int round = 0; round < 40000; round++) {
        char text[sizeof(RULES)] = RULES;
        for (uint64_t edits = 1 + random_next(&state) % 3; edits > 0; edits--) {
            size_t at = random_next(&state) % (sizeof(RULES) - 30);
            const char *value = values[random_next(&state) % 12];
            char *colon = strchr(text + at, ':');
            if (random_next(&state) % 4 == 0) {
                text[at] = (char)(' ' + random_next(&state) % 95);
            } else if (colon != NULL) {
                /* The place of a value, as long as that is. */
                size_t length = strcspn(colon + 1, ",}]");
                if (strlen(value) <= length) {
                    memset(colon + 1, ' ', length);
                    memcpy(colon + 1, value, strlen(value));
                }
            }
        }
        json_t *request = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        if (request != NULL) {
            struct container *container = container_new("x");
            whole++;
            good += read_rules(request, container) == 0;
            container_free(container);
        }
        json_decref(request);
    }
    /* It does reach the readers. */
    CHECK(whole > 5000 && good > 500 && good < whole);
}

int main(void)
{
    console_init(output_resume_all);
    CHECK(loop_init() == 0);
    RUN(good_rules_are_read);
    RUN(no_rules_restrict_nothing);
    RUN(random_rules_are_read_or_refused);
    fakes_reset();
    return 0;
}
