/* Streams: windows both ways, with real processes of the machine that runs the tests. */

#include <signal.h>
#include <unistd.h>

#include "attach.h"
#include "check.h"
#include "console.h"
#include "container.h"
#include "exit.h"
#include "fakes.h"
#include "log.h"
#include "loop.h"
#include "output.h"
#include "request.h"
#include "start.h"
#include "stream.h"

#define PATIENCE_STEPS 2000
#define UNTIL(condition)                                                                         \
    do {                                                                                         \
        for (int steps = 0; !(condition); steps++) {                                             \
            CHECK(steps < PATIENCE_STEPS);                                                       \
            loop_step(10);                                                                       \
        }                                                                                        \
    } while (0)

static uint32_t next_id = 1;
static int output_fd; /* where the container main writes */

static void ask(const char *text)
{
    request_serve(NULL, 7, text, strlen(text));
}

static bool ok(void)
{
    return json_is_true(json_object_get(fakes.answer, "ok"));
}

static const char *refusal(const char *key)
{
    return json_string_value(json_object_get(json_object_get(fakes.answer, "error"), key));
}

static json_int_t told(const char *key)
{
    return json_integer_value(json_object_get(fakes.event, key));
}

static void run_main(void)
{
    ask("{\"op\":\"container.create\",\"name\":\"main\",\"layers\":[\"l0\"],"
        "\"upper\":{\"tmpfs_mib\":1},\"argv\":[\"x\"],\"stdin\":true}");
    CHECK(ok());
    ask("{\"op\":\"container.start\",\"name\":\"main\"}");
    close(fakes.report_fd);
    fakes.report_fd = -1;
    start_settle(container_find("main"));
    CHECK(ok());
    output_fd = fakes.output_fd;
}

/* Execute a shell's script; the stream's id. */
static uint32_t execute(const char *script)
{
    char text[500];
    size_t before;

    fakes_reset();
    before = fakes.answers;
    snprintf(text, sizeof(text),
             "{\"op\":\"exec.start\",\"stream\":%u,\"name\":\"main\",\"stdin\":true,"
             "\"argv\":[\"sh\",\"-c\",\"%s\"]}",
             next_id, script);
    ask(text);
    UNTIL(fakes.answers > before);
    return next_id++;
}

static void send_data(uint32_t id, const char *bytes, size_t count, uint8_t flags)
{
    stream_take_data(&(struct frame){
        .type = FRAME_DATA, .flags = flags, .id = id, .payload = bytes, .length = count});
}

static void send_window(uint32_t id, uint32_t more)
{
    uint8_t payload[FRAME_WINDOW_SIZE];

    frame_write_be32(payload, more);
    stream_take_window(&(struct frame){.type = FRAME_WINDOW,
                                       .id = id,
                                       .payload = (const char *)payload,
                                       .length = sizeof(payload)});
}

static void bytes_pass_both_ways_and_the_last_is_the_end(void)
{
    uint32_t id = execute("cat; echo problem >&2; exit 3");

    CHECK(ok());
    send_data(id, "hello ", 6, 0);
    send_data(id, "world", 5, FRAME_END);
    UNTIL(fakes.events == 1);
    CHECK(fakes.data_size[0] == 11 && memcmp(fakes.data[0], "hello world", 11) == 0);
    CHECK(fakes.data_size[1] == 8 && fakes.data_ended[0] && fakes.data_ended[1]);
    CHECK(fakes.granted == 11);
    CHECK_TEXT(json_string_value(json_object_get(fakes.event, "event")), "stream.closed");
    CHECK(told("stream") == id && told("exit_code") == 3 && told("signal") == 0);
    CHECK(stream_find(id) == NULL);
}

static void output_waits_for_the_hosts_window(void)
{
    uint32_t id = execute("head -c 200000 /dev/zero");

    UNTIL(fakes.data_size[0] == STREAM_WINDOW);
    for (int i = 0; i < 20; i++) {
        loop_step(1);
    }
    CHECK(fakes.data_size[0] == STREAM_WINDOW && fakes.events == 0);
    send_window(id, 1000);
    UNTIL(fakes.data_size[0] == STREAM_WINDOW + 1000);
    while (fakes.events == 0) {
        send_window(id, STREAM_WINDOW);
        loop_step(10);
    }
    CHECK(fakes.data_size[0] == 200000 && told("exit_code") == 0);
}

static void output_waits_for_room_in_the_channel(void)
{
    uint32_t id = execute("read x; echo later");

    fakes.room = 0;
    send_data(id, "go\n", 3, FRAME_END);
    for (int i = 0; i < 20; i++) {
        loop_step(10);
    }
    CHECK(fakes.data_size[0] == 0 && fakes.events == 0);
    fakes.room = SIZE_MAX;
    stream_resume_all();
    UNTIL(fakes.events == 1);
    CHECK(fakes.data_size[0] == 6);
}

static void input_is_granted_as_the_program_takes_it(void)
{
    static char bytes[FRAME_MAX_DATA];
    uint32_t id = execute("sleep 0.1; cat >/dev/null");
    size_t sent = 0;

    while (sent < 20 * sizeof(bytes)) {
        if (STREAM_WINDOW + fakes.granted - sent >= sizeof(bytes)) {
            send_data(id, bytes, sizeof(bytes), 0);
            sent += sizeof(bytes);
        } else {
            loop_step(10);
        }
    }
    send_data(id, "", 0, FRAME_END);
    UNTIL(fakes.events == 1);
    CHECK(told("exit_code") == 0 && fakes.granted == sent);
}

static void a_program_that_does_not_read_leaves_the_host_free_to_write(void)
{
    uint32_t id = execute("exec <&-; read x <&2; sleep 0.2");

    for (int i = 0; i < 50; i++) {
        loop_step(1);
    }
    send_data(id, "lost", 4, 0);
    send_data(id, "lost too", 8, FRAME_END);
    UNTIL(fakes.events == 1);
    CHECK(fakes.granted == 12);
}

static void a_host_that_sends_beyond_its_window_loses_the_stream(void)
{
    static char bytes[FRAME_MAX_DATA];
    uint32_t id = execute("exec sleep 1000");

    for (int i = 0; i < 10; i++) {
        send_data(id, bytes, sizeof(bytes), 0);
    }
    CHECK(fakes.killed_pid == fakes.entered_pid && fakes.killed_signal == SIGKILL);
    UNTIL(fakes.events == 1);
    CHECK(told("exit_code") == 137 && told("signal") == 9);
}

static void what_cannot_be_executed_is_refused_and_leaves_no_stream(void)
{
    char text[200];

    fakes_reset();
    snprintf(text, sizeof(text),
             "{\"op\":\"exec.start\",\"stream\":%u,\"name\":\"main\",\"argv\":[\"/no/such\"]}",
             next_id);
    ask(text);
    UNTIL(fakes.answers == 1);
    CHECK_TEXT(refusal("code"), "exec");
    CHECK(stream_find(next_id) == NULL);
    for (int i = 0; i < 10; i++) {
        loop_step(10);
    }
    CHECK(fakes.events == 0 && fakes.data_size[0] == 0 && !fakes.data_ended[0]);
}

static void an_id_is_one_streams_only_and_their_number_has_a_limit(void)
{
    uint32_t first = execute("exec sleep 1000");
    char text[200];

    snprintf(text, sizeof(text),
             "{\"op\":\"exec.start\",\"stream\":%u,\"name\":\"main\",\"argv\":[\"true\"]}", first);
    ask(text);
    CHECK_TEXT(refusal("code"), "invalid");
    while (next_id < first + STREAM_MAX) {
        execute("exec sleep 1000");
        CHECK(ok());
    }
    snprintf(text, sizeof(text),
             "{\"op\":\"exec.start\",\"stream\":%u,\"name\":\"main\",\"argv\":[\"true\"]}", next_id);
    ask(text);
    CHECK_TEXT(refusal("code"), "state");
    fakes_reset();
    stream_abandon_all();
    CHECK(stream_find(first) == NULL);
}

static void the_streams_of_a_host_that_is_gone_end_in_silence(void)
{
    uint32_t id = execute("trap '' HUP; echo deaf; read x; while :; do :; done");

    UNTIL(fakes.data_size[0] == 5);
    ask("{\"op\":\"hello\",\"nonce\":\"n\",\"version\":1}");
    CHECK(stream_find(id) == NULL && fakes.killed_signal == SIGHUP);
    UNTIL(fakes.killed_signal == SIGKILL);
    for (int i = 0; i < 20; i++) {
        loop_step(10);
    }
    CHECK(fakes.events == 0);
}

static void frames_for_streams_that_are_gone_are_ignored(void)
{
    fakes_reset();
    send_data(0xffffffff, "x", 1, FRAME_END);
    send_window(0xffffffff, 1);
    ask("{\"op\":\"stream.close\",\"stream\":4294967295}");
    CHECK(ok() && fakes.events == 0 && fakes.granted == 0);
}

static void an_attached_stream_gets_output_and_gives_input(void)
{
    struct container *container = container_find("main");
    char text[100];
    uint32_t id = next_id++;

    fakes_reset();
    snprintf(text, sizeof(text),
             "{\"op\":\"container.attach\",\"stream\":%u,\"name\":\"main\",\"stdin\":true}", id);
    ask(text);
    CHECK(ok() && json_is_false(json_object_get(fakes.answer, "tty")));
    send_data(id, "typed", 5, 0);
    CHECK(fakes.granted == 5);
    CHECK(write(output_fd, "shown", 5) == 5);
    UNTIL(fakes.data_size[0] == 5);
    container->exit_code = 4;
    attach_end(container);
    CHECK(told("stream") == id && told("exit_code") == 4 && stream_find(id) == NULL);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    console_init(output_resume_all);
    log_init(output_resume_all);
    CHECK(loop_init() == 0 && exit_init() == 0);
    run_main();
    RUN(bytes_pass_both_ways_and_the_last_is_the_end);
    RUN(output_waits_for_the_hosts_window);
    RUN(output_waits_for_room_in_the_channel);
    RUN(input_is_granted_as_the_program_takes_it);
    RUN(a_program_that_does_not_read_leaves_the_host_free_to_write);
    RUN(a_host_that_sends_beyond_its_window_loses_the_stream);
    RUN(what_cannot_be_executed_is_refused_and_leaves_no_stream);
    RUN(an_id_is_one_streams_only_and_their_number_has_a_limit);
    RUN(the_streams_of_a_host_that_is_gone_end_in_silence);
    RUN(frames_for_streams_that_are_gone_are_ignored);
    RUN(an_attached_stream_gets_output_and_gives_input);
    fakes_reset();
    return 0;
}
