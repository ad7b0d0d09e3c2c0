#include <unistd.h>

#include "check.h"
#include "console.h"
#include "container.h"
#include "exit.h"
#include "fakes.h"
#include "loop.h"
#include "output.h"
#include "request.h"
#include "start.h"
#include "version.h"

#define CREATE                                                                                   \
    "{\"op\":\"container.create\",\"name\":\"web\",\"layers\":[\"l0\",\"l1\"],"                    \
    "\"upper\":{\"tmpfs_mib\":16},\"argv\":[\"sh\",\"-c\",\"true\"],\"env\":[\"A=1\"],"            \
    "\"user\":\"web:logs\",\"cwd\":\"/srv\",\"stop_signal\":\"SIGQUIT\"}"

static void ask(const char *text)
{
    size_t before = fakes.answers;
    char *copy = strdup(text);

    /* Without its terminator: the payload of a frame has none. */
    request_serve(NULL, 7, copy, strlen(text));
    free(copy);
    CHECK(fakes.answers <= before + 1);
}

static bool ok(void)
{
    return json_is_true(json_object_get(fakes.answer, "ok"));
}

static const char *refusal(const char *key)
{
    return json_string_value(json_object_get(json_object_get(fakes.answer, "error"), key));
}

static json_int_t number(const char *key)
{
    return json_integer_value(json_object_get(fakes.answer, key));
}

static void begin(const char *name)
{
    char text[400];

    snprintf(text, sizeof(text),
             "{\"op\":\"container.create\",\"name\":\"%s\",\"layers\":[\"l0\"],"
             "\"upper\":{\"serial\":\"u\"},\"argv\":[\"x\"]}",
             name);
    ask(text);
    CHECK(ok());
    snprintf(text, sizeof(text), "{\"op\":\"container.start\",\"name\":\"%s\"}", name);
    ask(text);
}

static void close_report(void)
{
    close(fakes.report_fd);
    fakes.report_fd = -1;
}

static void hello_repeats_the_nonce(void)
{
    ask("{\"op\":\"hello\",\"nonce\":\"abc\",\"version\":99}");
    CHECK(ok() && fakes.answer_id == 7);
    CHECK_TEXT(json_string_value(json_object_get(fakes.answer, "nonce")), "abc");
    CHECK_TEXT(json_string_value(json_object_get(fakes.answer, "state")), "sandbox");
    CHECK(number("version") == PROTOCOL_VERSION && number("uptime_ns") > 0 && number("mem_total_kib") > 0);
}

static void nonsense_is_refused_with_a_sentence(void)
{
    static const struct {
        const char *text, *code;
    } known[] = {
        {"", "invalid"},
        {"{", "invalid"},
        {"[]", "invalid"},
        {"{}", "invalid"},
        {"{\"op\":7}", "invalid"},
        {"{\"op\":\"hello\"}", "invalid"},
        {"{\"op\":\"hello\",\"op\":\"hello\"}", "invalid"},
        {"{\"op\":\"dance\"}", "unknown_op"},
        {"{\"op\":\"container.start\",\"name\":\"ghost\"}", "state"},
        {"{\"op\":\"container.stop\",\"name\":\"ghost\",\"grace_ms\":0}", "state"},
        {"{\"op\":\"clock.set\",\"time_ns\":-1}", "invalid"},
        {"{\"op\":\"clock.set\",\"time_ns\":1.5}", "invalid"},
        {"{\"op\":\"entropy.add\",\"entropy\":\"?\"}", "invalid"},
        {"{\"op\":\"pod.configure\",\"hostname\":\"a b\"}", "invalid"},
        {"{\"op\":\"pod.configure\",\"dns\":{\"nameservers\":[\"x\"]}}", "invalid"},
        {"{\"op\":\"pod.configure\",\"dns\":{\"search\":[\"a\\nb\"]}}", "invalid"},
        {"{\"op\":\"disk.mount\",\"serial\":\"../e\",\"path\":\"/mnt\"}", "invalid"},
        {"{\"op\":\"disk.mount\",\"serial\":\"e\",\"path\":\"mnt\"}", "invalid"},
        {"{\"op\":\"disk.mount\",\"serial\":\"e\",\"path\":\"/\"}", "invalid"},
        {"{\"op\":\"disk.mount\",\"serial\":\"e\",\"path\":\"/mnt/../etc\"}", "invalid"},
        {"{\"op\":\"disk.mount\",\"serial\":\"e\",\"path\":\"/mnt\",\"format\":\"xfs\"}",
         "invalid"},
        {"{\"op\":\"disk.mount\",\"serial\":\"e\",\"path\":\"/mnt\",\"label\":\"../x\"}",
         "invalid"},
        {"{\"op\":\"disk.mount\",\"serial\":\"e\",\"path\":\"/mnt\"}", "disk"},
        {"{\"op\":\"disk.mount\",\"serial\":\"e\",\"path\":\"/mnt\",\"format\":\"iso9660\"}", "disk"},
        {"{\"op\":\"account.set\",\"name\":\"ghost\"}", "state"},
        {"{\"op\":\"swap.on\"}", "invalid"},
        {"{\"op\":\"swap.on\",\"serial\":\"swap\"}", "disk"},
        {"{\"op\":\"container.create\",\"name\":\"../etc\"}", "invalid"},
        {"{\"op\":\"container.create\",\"name\":\"x\",\"argv\":[]}", "invalid"},
        {"{\"op\":\"container.create\",\"name\":\"x\",\"argv\":[\"a\\u0000b\"]}", "invalid"},
        {"{\"op\":\"container.create\",\"name\":\"x\",\"argv\":[\"a\"],\"layers\":[\"a:b\"]}",
         "invalid"},
        {"{\"op\":\"container.create\",\"name\":\"x\",\"argv\":[\"a\"],\"layers\":[\"a\"],"
         "\"upper\":{\"tmpfs_mib\":0}}",
         "invalid"},
        {"{\"op\":\"container.create\",\"name\":\"x\",\"argv\":[\"a\"],\"cwd\":\"x\"}", "exec"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        ask(known[i].text);
        CHECK(!ok());
        CHECK_TEXT(refusal("code"), known[i].code);
        CHECK(strlen(refusal("message")) > 10);
    }
    CHECK(fakes.mounts == 0 && container_count() == 0);
}

static void deep_json_is_refused(void)
{
    char text[20000];

    memset(text, '[', sizeof(text));
    request_serve(NULL, 7, text, sizeof(text));
    CHECK(!ok());
}

static void configuring_makes_a_pod_of_the_sandbox(void)
{
    ask("{\"op\":\"pod.configure\",\"hostname\":\"web-1\",\"time_ns\":1800000000000000001,"
        "\"entropy\":\"Zm9v\",\"nics\":[],\"dns\":{\"nameservers\":[\"10.0.0.2\"],"
        "\"search\":[\"example.org\"]}}");
    CHECK(ok());
    CHECK_TEXT(fakes.hostname, "web-1");
    CHECK(fakes.time_ns == 1800000000000000001);
    ask("{\"op\":\"hello\",\"nonce\":\"abc\",\"version\":1}");
    CHECK_TEXT(json_string_value(json_object_get(fakes.answer, "state")), "pod");
}

static void creating_twice_mounts_once(void)
{
    ask(CREATE);
    CHECK(ok());
    ask(CREATE);
    CHECK(ok() && fakes.mounts == 1);
    struct container *web = container_find("web");
    CHECK_TEXT(web->argv[2], "true");
    CHECK_TEXT(web->user, "web:logs");
    CHECK(web->stop_signal == 3);
}

static void a_mount_that_fails_leaves_no_container(void)
{
    fakes.mount_fails = true;
    ask("{\"op\":\"container.create\",\"name\":\"broken\",\"layers\":[\"l0\"],"
        "\"upper\":{\"serial\":\"u0\"},\"argv\":[\"x\"]}");
    CHECK_TEXT(refusal("code"), "disk");
    CHECK(container_find("broken") == NULL);
}

static void start_is_answered_when_exec_has_succeeded(void)
{
    begin("good");
    struct container *good = container_find("good");
    size_t before = fakes.answers;
    start_settle(good);
    CHECK(fakes.answers == before && good->state == CONTAINER_STARTING);
    close_report();
    start_settle(good);
    CHECK(ok() && number("pid") == good->pid && number("uptime_ns") > 0);
    CHECK(good->state == CONTAINER_RUNNING);
}

static void start_is_answered_with_why_exec_failed(void)
{
    struct failure why;

    begin("bad");
    struct container *bad = container_find("bad");
    failure_set(&why, "exec", "command \"x\" not found");
    CHECK(write(fakes.report_fd, &why, sizeof(why)) == (ssize_t)sizeof(why));
    close_report();
    start_settle(bad);
    CHECK_TEXT(refusal("code"), "exec");
    CHECK_TEXT(refusal("message"), "command \"x\" not found");
    CHECK(bad->state == CONTAINER_CREATED && bad->pid == 0);
}

static void a_launch_that_fails_can_be_repeated(void)
{
    fakes.launch_fails = true;
    begin("later");
    CHECK_TEXT(refusal("code"), "internal");
    fakes.launch_fails = false;
    ask("{\"op\":\"container.start\",\"name\":\"later\"}");
    close_report();
    start_settle(container_find("later"));
    CHECK(ok());
}

static void read_output(struct container *container, int index)
{
    struct watch *watch = &container->outputs[index].watch;

    watch->on_ready(watch, 0);
}

static void the_first_output_is_told_once(void)
{
    begin("talker");
    struct container *talker = container_find("talker");
    close_report();
    start_settle(talker);
    CHECK(write(fakes.output_fd, "hello\n", 6) == 6);
    read_output(talker, 0);
    CHECK_TEXT(json_string_value(json_object_get(fakes.event, "event")), "container.output");
    json_decref(fakes.event);
    fakes.event = NULL;
    CHECK(write(fakes.output_fd, "more\n", 5) == 5);
    read_output(talker, 0);
    CHECK(fakes.event == NULL && talker->output_ns > 0);
}

static void stop_signals_and_is_answered_at_the_exit(void)
{
    begin("stopped");
    struct container *stopped = container_find("stopped");
    close_report();
    start_settle(stopped);
    size_t before = fakes.answers;
    ask("{\"op\":\"container.stop\",\"name\":\"stopped\",\"signal\":\"HUP\",\"grace_ms\":0}");
    CHECK(fakes.answers == before);
    CHECK(fakes.killed_pid == stopped->pid && fakes.killed_signal == 1);
    loop_step(0);
    CHECK(fakes.killed_signal == 9);

    /* What the reaper does. */
    stopped->pid = 0;
    stopped->ended = true;
    stopped->exit_code = 137;
    stopped->signal = 9;
    close(fakes.output_fd);
    fakes.output_fd = -1;
    read_output(stopped, 0);
    CHECK(stopped->state == CONTAINER_RUNNING);
    close(fakes.error_fd);
    fakes.error_fd = -1;
    read_output(stopped, 1);
    CHECK(ok() && number("exit_code") == 137 && number("signal") == 9);
    CHECK_TEXT(json_string_value(json_object_get(fakes.event, "event")), "container.exited");
    ask("{\"op\":\"container.start\",\"name\":\"stopped\"}");
    CHECK_TEXT(refusal("code"), "state");
    ask("{\"op\":\"container.stop\",\"name\":\"stopped\",\"grace_ms\":5}");
    CHECK(number("exit_code") == 137);
}

static void set_account(int exit_code, const char *more)
{
    char text[300];
    size_t before = fakes.answers;

    fakes.tree_exit = exit_code;
    snprintf(text, sizeof(text), "{\"op\":\"account.set\",\"name\":\"web\"%s}", more);
    ask(text);
    for (int i = 0; i < 500 && fakes.answers == before && exit_code >= 0; i++) {
        loop_step(20);
    }
}

static bool flag(const char *key)
{
    return json_is_true(json_object_get(fakes.answer, key));
}

static void an_account_is_answered_when_its_process_has_ended(void)
{
    set_account(3, ",\"user\":\"root\",\"password\":\"$6$s$h\",\"keys\":[\"k\"]");
    CHECK(ok() && flag("password") && flag("keys"));
    set_account(1, "");
    CHECK(ok() && flag("password") && !flag("keys"));
    set_account(0, "");
    CHECK(ok() && !flag("password") && !flag("keys"));
    set_account(127, "");
    CHECK_TEXT(refusal("code"), "invalid");
    CHECK_TEXT(refusal("message"), "what is there cannot be used");
    set_account(9, "");
    CHECK_TEXT(refusal("code"), "internal");
}

static void an_account_that_makes_no_sense_is_refused(void)
{
    static const char *const wrong[] = {
        ",\"user\":\"a:b\"",         ",\"user\":\"../x\"",   ",\"user\":\"\"",
        ",\"password\":\"a:b\"",     ",\"password\":\"a\\nb\"", ",\"keys\":[\"\"]",
        ",\"keys\":[\"a\\nb\"]", ",\"keys\":[1]",          ",\"keys\":{}",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        set_account(0, wrong[i]);
        CHECK_TEXT(refusal("code"), "invalid");
    }
}

static void a_host_that_is_back_hears_nothing_of_accounts_before(void)
{
    fakes.tree_exit = 3;
    ask("{\"op\":\"account.set\",\"name\":\"web\"}");
    ask("{\"op\":\"hello\",\"nonce\":\"n\",\"version\":1}");
    size_t before = fakes.answers;
    for (int i = 0; i < 20; i++) {
        loop_step(10);
    }
    CHECK(fakes.answers == before);
}

static void status_lists_everything(void)
{
    ask("{\"op\":\"pod.status\"}");
    json_t *list = json_object_get(fakes.answer, "containers");
    CHECK(json_array_size(list) == container_count() && container_count() >= 5);
    const json_t *web = json_array_get(list, 0);
    CHECK_TEXT(json_string_value(json_object_get(web, "name")), "web");
    CHECK_TEXT(json_string_value(json_object_get(web, "state")), "created");
    CHECK(json_is_null(json_object_get(web, "exit_code")));
}

static void a_pod_takes_64_containers_and_its_status_still_fits(void)
{
    char text[300];

    for (int i = 0; container_count() < CONTAINER_MAX; i++) {
        snprintf(text, sizeof(text),
                 "{\"op\":\"container.create\",\"name\":\"%063d\",\"layers\":[\"l0\"],"
                 "\"upper\":{\"tmpfs_mib\":1},\"argv\":[\"x\"]}",
                 i);
        ask(text);
        CHECK(ok());
    }
    ask("{\"op\":\"container.create\",\"name\":\"more\",\"argv\":[\"x\"]}");
    CHECK_TEXT(refusal("code"), "state");
    ask("{\"op\":\"pod.status\"}");
    CHECK(ok());
}

/* Mutations of good requests: every one is answered, and nothing is harmed. */
static void random_requests_are_answered(void)
{
    static const char *const seeds[] = {
        CREATE,
        "{\"op\":\"pod.configure\",\"hostname\":\"h\",\"time_ns\":1,\"entropy\":\"Zm9v\","
        "\"nics\":[{\"mac\":\"52:54:00:12:34:56\",\"mtu\":0,\"addresses\":[\"10.0.0.5/24\"],"
        "\"routes\":[]}],\"dns\":{\"nameservers\":[\"1.1.1.1\"],\"search\":[\"x\"]}}",
        "{\"op\":\"container.stop\",\"name\":\"web\",\"signal\":\"TERM\",\"grace_ms\":1}",
        "{\"op\":\"hello\",\"nonce\":\"n\",\"version\":1}",
        "{\"op\":\"pod.status\"}",
        "{\"op\":\"volume.create\",\"name\":\"v\",\"kind\":\"empty\",\"medium\":\"memory\","
        "\"size_mib\":3,\"mode\":511,\"gid\":7,\"upper\":{\"tmpfs_mib\":1,\"tmpfs\":\"u\"}}",
        "{\"op\":\"volume.write\",\"name\":\"v\",\"path\":\"a/b\",\"mode\":384,\"data\":\"Zm9v\","
        "\"append\":true}",
        "{\"op\":\"account.set\",\"name\":\"ghost\",\"user\":\"root\",\"keys\":[\"k\"],"
        "\"password\":\"$6$s$h\"}",
    };
    enum { SEED_COUNT = sizeof(seeds) / sizeof(seeds[0]) };
    static const char *const values[] = {"null", "-1", "[]", "{}", "\"\"", "1e99", "true",
                                         "99999999999999999999", "\"\\u0000\"", "[[[[]]]]"};
    uint64_t state = 99;

    for (int round = 0; round < 30000; round++) {
        char text[1024];
        snprintf(text, sizeof(text), "%s", seeds[random_next(&state) % SEED_COUNT]);
        size_t length = strlen(text);
        for (uint64_t edits = random_next(&state) % 4; edits > 0; edits--) {
            size_t at = random_next(&state) % length;
            const char *value = values[random_next(&state) % 10];
            if (random_next(&state) % 2 == 0) {
                text[at] = (char)random_next(&state);
            } else if (at + strlen(value) < length) {
                memcpy(text + at, value, strlen(value));
            }
        }
        char *exact = malloc(length);
        memcpy(exact, text, length);
        size_t before = fakes.answers;
        request_serve(NULL, 7, exact, length);
        CHECK(fakes.answers == before + 1);
        free(exact);
    }
}

int main(void)
{
    console_init(output_resume_all);
    log_init(output_resume_all);
    CHECK(loop_init() == 0 && exit_init() == 0);
    RUN(hello_repeats_the_nonce);
    RUN(nonsense_is_refused_with_a_sentence);
    RUN(deep_json_is_refused);
    RUN(configuring_makes_a_pod_of_the_sandbox);
    RUN(creating_twice_mounts_once);
    RUN(a_mount_that_fails_leaves_no_container);
    fakes_reset();
    RUN(start_is_answered_when_exec_has_succeeded);
    RUN(start_is_answered_with_why_exec_failed);
    RUN(a_launch_that_fails_can_be_repeated);
    RUN(the_first_output_is_told_once);
    RUN(stop_signals_and_is_answered_at_the_exit);
    RUN(status_lists_everything);
    RUN(an_account_is_answered_when_its_process_has_ended);
    RUN(an_account_that_makes_no_sense_is_refused);
    RUN(a_host_that_is_back_hears_nothing_of_accounts_before);
    RUN(a_pod_takes_64_containers_and_its_status_still_fits);
    RUN(random_requests_are_answered);
    fakes_reset();
    return 0;
}
