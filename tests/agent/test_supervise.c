/* Pods of several containers: what pod.start begins and what follows from ends. */

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "console.h"
#include "container.h"
#include "exit.h"
#include "fakes.h"
#include "loop.h"
#include "output.h"
#include "request.h"
#include "restart.h"
#include "start.h"
#include "supervise.h"

/* Containers stay for ever, as in a guest: each test has a process of its own. */
#define RUN_ALONE(test)                                                                          \
    do {                                                                                         \
        fflush(stdout);                                                                          \
        pid_t alone = fork();                                                                    \
        int alone_status = 1;                                                                    \
        if (alone == 0) {                                                                        \
            test();                                                                              \
            fakes_reset();                                                                       \
            exit(0);                                                                             \
        }                                                                                        \
        CHECK(waitpid(alone, &alone_status, 0) == alone && alone_status == 0);                   \
        printf("ok %s\n", #test);                                                                \
    } while (0)

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

static struct container *make(const char *name, const char *more)
{
    char text[1000];

    snprintf(text, sizeof(text),
             "{\"op\":\"container.create\",\"name\":\"%s\",\"layers\":[\"l0\"],"
             "\"upper\":{\"serial\":\"u\",\"dir\":\"%s\"},\"argv\":[\"x\"]%s}",
             name, name, more);
    ask(text);
    CHECK(ok());
    return container_find(name);
}

/* exec of the container that was launched last goes well. */
static void execute(struct container *container)
{
    CHECK(container->state == CONTAINER_STARTING);
    close(fakes.report_fd);
    fakes.report_fd = -1;
    start_settle(container);
    CHECK(container->state == CONTAINER_RUNNING);
}

static void fail_to_execute(struct container *container, int exit_code)
{
    struct failure why;

    CHECK(container->state == CONTAINER_STARTING);
    failure_set(&why, "exec", "command \"x\" not\nfound");
    why.exit_code = exit_code;
    CHECK(write(fakes.report_fd, &why, sizeof(why)) == (ssize_t)sizeof(why));
    close(fakes.report_fd);
    fakes.report_fd = -1;
    start_settle(container);
}

/* What the reaper does. */
static void end(struct container *container, int exit_code)
{
    CHECK(container->state == CONTAINER_RUNNING);
    container->pid = 0;
    container->ended = true;
    supervise_reaped(container);
    container->exited_ns = monotonic_ns();
    container->exit_code = exit_code;
    container->signal = exit_code > 128 ? exit_code - 128 : 0;
    exit_publish(container);
}

/* Serve everything that is due. */
static void settle(void)
{
    for (int i = 0; i < 20; i++) {
        loop_step(0);
    }
}

static json_t *status_of(const char *name)
{
    size_t index;
    json_t *item;

    ask("{\"op\":\"pod.status\"}");
    json_array_foreach(json_object_get(fakes.answer, "containers"), index, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0) {
            return item;
        }
    }
    CHECK(!"a container is missing in pod.status");
    return NULL;
}

static const char *text_of(const char *name, const char *key)
{
    return json_string_value(json_object_get(status_of(name), key));
}

static bool finished(void)
{
    ask("{\"op\":\"pod.status\"}");
    return json_is_true(json_object_get(fakes.answer, "finished"));
}

static struct restart policy(enum restart_policy policy)
{
    return (struct restart){.policy = policy,
                            .initial_ms = 100,
                            .max_ms = 350,
                            .reset_ms = 1000,
                            .max_retries = -1};
}

static void pauses_double_up_to_a_limit_and_begin_anew_after_a_long_run(void)
{
    static const struct {
        int64_t ran_ms, delay_ms;
    } known[] = {{5, 0}, {5, 100}, {5, 200}, {5, 350}, {999, 350}, {1000, 0}, {5, 100}};
    struct restart restart = policy(RESTART_ALWAYS);

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        int64_t delay_ms = -1;
        CHECK(restart_again(&restart, i % 2 == 0, known[i].ran_ms, &delay_ms));
        CHECK(delay_ms == known[i].delay_ms);
    }
}

static void the_policy_decides_on_restarts(void)
{
    int64_t delay_ms;
    struct restart restart = policy(RESTART_NEVER);

    CHECK(!restart_again(&restart, true, 0, &delay_ms));
    restart = policy(RESTART_ON_FAILURE);
    CHECK(!restart_again(&restart, false, 0, &delay_ms));
    CHECK(restart_again(&restart, true, 0, &delay_ms));
    restart = policy(RESTART_ALWAYS);
    restart.max_retries = 2;
    CHECK(restart_again(&restart, false, 0, &delay_ms));
    CHECK(restart_again(&restart, false, 0, &delay_ms));
    CHECK(!restart_again(&restart, false, 0, &delay_ms));
    CHECK(restart_again(&restart, false, 1000, &delay_ms));
}

static void a_pod_without_containers_is_not_started(void)
{
    ask("{\"op\":\"pod.start\"}");
    CHECK_TEXT(refusal("code"), "state");
    CHECK(!finished());
}

static void init_containers_run_one_by_one_before_the_others(void)
{
    struct container *web = make("web", "");
    struct container *one = make("one", ",\"init\":true");
    struct container *two = make("two", ",\"init\":true");
    struct container *log = make("log", "");

    size_t before = fakes.answers;
    ask("{\"op\":\"pod.start\"}");
    CHECK(fakes.answers == before);
    CHECK(one->state == CONTAINER_STARTING && two->state == CONTAINER_CREATED);
    execute(one);
    CHECK(ok() && fakes.answers == before + 1);
    end(one, 0);
    CHECK(two->state == CONTAINER_STARTING && web->state == CONTAINER_CREATED);
    execute(two);
    end(two, 0);
    CHECK(web->state == CONTAINER_STARTING && log->state == CONTAINER_STARTING);
    /* The fake has closed the report of the one before. */
    start_settle(web);
    execute(log);
    CHECK(fakes.answers == before + 1 && !finished());
    CHECK_TEXT(text_of("one", "reason"), "Completed");
    CHECK(json_is_true(json_object_get(status_of("web"), "ready")));
    ask("{\"op\":\"pod.start\"}");
    CHECK(ok());
}

static void an_init_container_that_fails_for_good_ends_the_pod(void)
{
    struct container *setup = make("setup", ",\"init\":true");
    struct container *web = make("web", "");

    ask("{\"op\":\"pod.start\"}");
    execute(setup);
    end(setup, 2);
    CHECK(finished() && web->state == CONTAINER_CREATED);
    CHECK(fakes.finished == 1);
    CHECK_TEXT(text_of("setup", "reason"), "Error");
}

static void an_init_container_is_tried_again_but_not_after_success(void)
{
    struct container *setup =
        make("setup", ",\"init\":true,\"restart\":{\"policy\":\"always\",\"initial_ms\":0}");
    struct container *web = make("web", "");

    ask("{\"op\":\"pod.start\"}");
    execute(setup);
    end(setup, 1);
    CHECK(setup->state == CONTAINER_WAITING);
    CHECK_TEXT(text_of("setup", "reason"), "CrashLoopBackOff");
    CHECK_TEXT(text_of("setup", "state"), "waiting");
    settle();
    execute(setup);
    end(setup, 0);
    CHECK(setup->state == CONTAINER_EXITED && setup->supervision.restarts == 1);
    CHECK(web->state == CONTAINER_STARTING);
}

static void the_first_start_that_fails_is_told_and_can_be_repeated(void)
{
    struct container *web = make("web", "");

    ask("{\"op\":\"pod.start\"}");
    fail_to_execute(web, 127);
    CHECK(!ok());
    CHECK_TEXT(refusal("code"), "exec");
    CHECK(web->state == CONTAINER_CREATED && !finished());
    fakes.launch_fails = true;
    ask("{\"op\":\"pod.start\"}");
    CHECK_TEXT(refusal("code"), "internal");
    fakes.launch_fails = false;
    ask("{\"op\":\"pod.start\"}");
    execute(web);
    CHECK(ok());
}

static void a_later_start_that_fails_is_an_exit(void)
{
    struct container *setup = make("setup", ",\"init\":true");
    struct container *web = make("web", "");

    ask("{\"op\":\"pod.start\"}");
    execute(setup);
    end(setup, 0);
    fail_to_execute(web, 127);
    CHECK(web->state == CONTAINER_EXITED && web->exit_code == 127);
    CHECK_TEXT(text_of("web", "message"), "command \"x\" not found");
    CHECK(finished() && fakes.finished == 1);
}

static void what_the_host_stops_stays_stopped(void)
{
    const char *always = ",\"restart\":{\"policy\":\"always\",\"initial_ms\":60000}";
    struct container *crashing = make("crashing", always);

    ask("{\"op\":\"pod.start\"}");
    execute(crashing);
    end(crashing, 3);
    settle();
    execute(crashing);
    end(crashing, 3);
    settle();
    CHECK(crashing->state == CONTAINER_WAITING && crashing->supervision.restarts == 1);
    ask("{\"op\":\"container.start\",\"name\":\"crashing\"}");
    CHECK_TEXT(refusal("code"), "state");
    ask("{\"op\":\"container.stop\",\"name\":\"crashing\",\"grace_ms\":0}");
    CHECK(ok() && json_integer_value(json_object_get(fakes.answer, "exit_code")) == 3);
    CHECK(finished() && fakes.finished == 1);
    CHECK_TEXT(text_of("crashing", "reason"), "Stopped");
}

static void a_stop_while_a_container_is_started_again_ends_it(void)
{
    const char *always = ",\"restart\":{\"policy\":\"always\",\"initial_ms\":0}";
    struct container *web = make("web", always);

    ask("{\"op\":\"pod.start\"}");
    execute(web);
    end(web, 3);
    settle();
    size_t before = fakes.answers;
    ask("{\"op\":\"container.stop\",\"name\":\"web\",\"signal\":\"HUP\",\"grace_ms\":60000}");
    CHECK(fakes.answers == before && web->state == CONTAINER_STARTING);
    fakes.killed_signal = 0;
    execute(web);
    /* Again: a first process has no handlers before exec. */
    CHECK(fakes.killed_signal == 1);
    end(web, 129);
    CHECK(fakes.answers == before + 1 && web->state == CONTAINER_EXITED);
}

static void an_unhealthy_container_is_killed_and_counts_as_failed(void)
{
    struct container *web = make("web", ",\"grace_ms\":0,\"stop_signal\":\"INT\","
                                        "\"restart\":{\"policy\":\"on-failure\"}");

    ask("{\"op\":\"pod.start\"}");
    execute(web);
    supervise_kill_unhealthy(web, "the liveness probe failed");
    CHECK(fakes.killed_signal == 2);
    settle();
    CHECK(fakes.killed_signal == 9);
    end(web, 0);
    CHECK(web->state == CONTAINER_WAITING);
    settle();
    execute(web);
    CHECK_TEXT(text_of("web", "reason"), "Unhealthy");
    CHECK_TEXT(text_of("web", "message"), "the liveness probe failed");
    end(web, 0);
    CHECK_TEXT(text_of("web", "reason"), "Completed");
}

static void count_kills(const char *count)
{
    char text[200];

    snprintf(text, sizeof(text), "low 0\nhigh 0\nmax 9\noom 9\noom_kill 9\noom_group_kill %s\n",
             count);
    CHECK(pwrite(fakes.memory_events_fd, text, strlen(text), 0) == (ssize_t)strlen(text));
}

static void memory_that_runs_out_is_told_until_the_next_end(void)
{
    fakes.memory_events_fd = memfd_create("events", 0);
    count_kills("4");
    struct container *web = make("web", ",\"resources\":{\"memory_max\":1000000},"
                                        "\"restart\":{\"policy\":\"always\",\"initial_ms\":0}");

    ask("{\"op\":\"pod.start\"}");
    execute(web);
    end(web, 137);
    CHECK(text_of("web", "message") == NULL);
    settle();
    execute(web);
    count_kills("5");
    end(web, 137);
    settle();
    execute(web);
    CHECK(json_is_true(json_object_get(status_of("web"), "oom_killed")));
    CHECK_TEXT(text_of("web", "reason"), "OOMKilled");
    CHECK(strstr(text_of("web", "message"), "more memory than its limit") != NULL);
    end(web, 137);
    settle();
    execute(web);
    CHECK(json_is_false(json_object_get(status_of("web"), "oom_killed")));
    CHECK_TEXT(text_of("web", "reason"), "Error");
}

static void nothing_is_started_while_the_guest_goes_down(void)
{
    const char *always = ",\"restart\":{\"policy\":\"always\",\"initial_ms\":0}";
    struct container *web = make("web", always), *log = make("log", always);

    ask("{\"op\":\"pod.start\"}");
    start_settle(web);
    execute(log);
    start_settle(web);
    end(log, 1);
    supervise_give_up();
    end(web, 137);
    settle();
    CHECK(web->state == CONTAINER_EXITED && log->state == CONTAINER_WAITING);
    CHECK(fakes.finished == 0);
}

static void the_status_of_64_containers_with_long_messages_fits(void)
{
    char name[70], message[2000];

    memset(message, '"', sizeof(message) - 1);
    message[sizeof(message) - 1] = 0;
    for (int i = 0; i < CONTAINER_MAX; i++) {
        snprintf(name, sizeof(name), "%063d", i);
        make(name, ",\"restart\":{\"policy\":\"always\"},\"probes\":{\"health\":{\"tcp\":{\"port\":1}}}");
    }
    ask("{\"op\":\"pod.start\"}");
    close(fakes.report_fd);
    fakes.report_fd = -1;
    for (struct container *at = container_first(); at != NULL; at = at->next) {
        start_settle(at);
        supervise_kill_unhealthy(at, message);
        at->started_ns = at->output_ns = INT64_MAX;
    }
    ask("{\"op\":\"pod.status\"}");
    CHECK(ok());
}

int main(void)
{
    console_init(output_resume_all);
    CHECK(loop_init() == 0);
    RUN(pauses_double_up_to_a_limit_and_begin_anew_after_a_long_run);
    RUN(the_policy_decides_on_restarts);
    RUN_ALONE(a_pod_without_containers_is_not_started);
    RUN_ALONE(init_containers_run_one_by_one_before_the_others);
    RUN_ALONE(an_init_container_that_fails_for_good_ends_the_pod);
    RUN_ALONE(an_init_container_is_tried_again_but_not_after_success);
    RUN_ALONE(the_first_start_that_fails_is_told_and_can_be_repeated);
    RUN_ALONE(a_later_start_that_fails_is_an_exit);
    RUN_ALONE(what_the_host_stops_stays_stopped);
    RUN_ALONE(a_stop_while_a_container_is_started_again_ends_it);
    RUN_ALONE(an_unhealthy_container_is_killed_and_counts_as_failed);
    RUN_ALONE(memory_that_runs_out_is_told_until_the_next_end);
    RUN_ALONE(nothing_is_started_while_the_guest_goes_down);
    RUN_ALONE(the_status_of_64_containers_with_long_messages_fits);
    return 0;
}
