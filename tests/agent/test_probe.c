/* Probes against servers of this test: honest, slow and hostile ones. */

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "console.h"
#include "container.h"
#include "fakes.h"
#include "loop.h"
#include "output.h"
#include "probe.h"

static int answers;
static bool latest;

static void on_answer(struct probe *probe, bool good)
{
    (void)probe;
    answers++;
    latest = good;
}

/* A listening socket of this machine. */
static int serve(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 5) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static struct probe *parse(const char *format, uint16_t port)
{
    char text[1000];
    struct failure why;
    struct probe *probe = NULL;

    snprintf(text, sizeof(text), format, port);
    json_t *probes = json_loads(text, 0, NULL);
    CHECK(probes != NULL && probe_parse(probes, "liveness", &probe, &why) == 0);
    json_decref(probes);
    return probe;
}

static void step_until_answered(void)
{
    int before = answers;

    while (answers == before) {
        loop_step(-1);
    }
}

static void finish(struct probe *probe)
{
    probe_end(probe);
    probe_free(probe);
}

static void the_status_of_an_answer_is_read(void)
{
    static const struct {
        const char *head;
        int status;
        bool good;
    } known[] = {
        {"HTTP/1.1 200 OK\r\n", 200, true},  {"HTTP/1.0 399\r\n", 399, true},
        {"HTTP/1.1 199 X\r\n", 199, false},  {"HTTP/1.1 400 X\r\n", 400, false},
        {"HTTP/1.1 503\r\n", 503, false},    {"HTTP/2 200\r\n", 0, false},
        {"", 0, false},                      {"\r\n", 0, false},
        {"HTTP/1.1 abc\r\n", 0, false},      {"HTTP/1.1", 0, false},
        {"SSH-2.0-x\r\n", 0, false},         {"HTTP/1.1 99999999999 X\r\n", 0, false},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        int status = -1;
        CHECK(probe_http_is_good(known[i].head, &status) == known[i].good);
        CHECK(status == known[i].status);
    }
}

static void a_port_that_accepts_is_good_and_one_that_does_not_is_bad(void)
{
    static struct container container;
    uint16_t port;
    int server = serve(&port);
    struct probe *probe = parse(
        "{\"liveness\":{\"tcp\":{\"port\":%u,\"host\":\"localhost\"},\"period_ms\":50}}", port);

    probe_begin(probe, &container, on_answer);
    step_until_answered();
    CHECK(latest && probe->in_a_row == 1);
    step_until_answered();
    CHECK(latest && probe->in_a_row == 2);
    close(server);
    step_until_answered();
    CHECK(!latest && probe->in_a_row == 1);
    CHECK_TEXT(probe->note, "Connection refused");
    finish(probe);
}

/* Have a probe ask, answer *bytes* in pieces of *piece*, and close when *ends*. */
static bool exchange(const char *bytes, size_t size, size_t piece, bool ends, char *asked,
                     size_t asked_size)
{
    static struct container container;
    uint16_t port;
    int server = serve(&port), before = answers;
    struct probe *probe =
        parse("{\"liveness\":{\"http\":{\"port\":%u,\"host\":\"127.0.0.1\",\"path\":\"/ok?a=b\","
              "\"headers\":[[\"X-Key\",\"a b\"]]},\"period_ms\":60000,\"timeout_ms\":200}}",
              port);

    probe_begin(probe, &container, on_answer);
    loop_step(-1);
    int client = accept(server, NULL, NULL);
    CHECK(client >= 0);
    loop_step(-1);
    ssize_t count = recv(client, asked, asked_size - 1, 0);
    CHECK(count > 0);
    asked[count] = 0;
    for (size_t at = 0; at < size; at += piece) {
        size_t length = size - at < piece ? size - at : piece;
        if (send(client, bytes + at, length, MSG_NOSIGNAL) < 0) {
            break;
        }
        if (answers == before) {
            loop_step(0);
        }
    }
    if (ends) {
        shutdown(client, SHUT_RDWR);
    }
    while (answers == before) {
        loop_step(-1);
    }
    close(client);
    close(server);
    finish(probe);
    return latest;
}

static void a_request_is_plain_http(void)
{
    static const char answer[] = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    static const char begin[] = "GET /ok?a=b HTTP/1.1\r\nHost: 127.0.0.1:";
    char asked[2000];

    CHECK(exchange(answer, strlen(answer), 100, false, asked, sizeof(asked)));
    CHECK(strncmp(asked, begin, strlen(begin)) == 0);
    CHECK(strstr(asked, "\r\nX-Key: a b\r\n") != NULL);
    CHECK(strcmp(asked + strlen(asked) - 4, "\r\n\r\n") == 0);
}

static void answers_may_come_in_pieces_or_be_nonsense(void)
{
    static const char good[] = "HTTP/1.0 302 Found\r\n\r\n", endless[5000] = "HTTP/1.1 ";
    char asked[2000];
    uint64_t state = 5;

    CHECK(exchange(good, strlen(good), 1, true, asked, sizeof(asked)));
    CHECK(!exchange(endless, sizeof(endless), 1000, false, asked, sizeof(asked)));
    CHECK(!exchange("", 0, 1, true, asked, sizeof(asked)));
    /* Nothing at all: the time limit ends it. */
    CHECK(!exchange("HTTP/1.1 2", 10, 10, false, asked, sizeof(asked)));
    for (int round = 0; round < 200; round++) {
        char bytes[200];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (char)random_next(&state);
        }
        CHECK(!exchange(bytes, sizeof(bytes), 50, true, asked, sizeof(asked)));
    }
}

static void an_ended_probe_gives_no_answer(void)
{
    static struct container container;
    uint16_t port;
    int server = serve(&port), before = answers;
    struct probe *probe = parse(
        "{\"liveness\":{\"tcp\":{\"port\":%u,\"host\":\"localhost\"},\"period_ms\":50}}", port);

    probe_begin(probe, &container, on_answer);
    loop_step(-1);
    CHECK(probe->under_way);
    finish(probe);
    for (int i = 0; i < 5; i++) {
        loop_step(0);
    }
    CHECK(answers == before);
    close(server);
}

int main(void)
{
    console_init(output_resume_all);
    CHECK(loop_init() == 0);
    RUN(the_status_of_an_answer_is_read);
    RUN(a_port_that_accepts_is_good_and_one_that_does_not_is_bad);
    RUN(a_request_is_plain_http);
    RUN(answers_may_come_in_pieces_or_be_nonsense);
    RUN(an_ended_probe_gives_no_answer);
    return 0;
}
