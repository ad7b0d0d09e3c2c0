#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "container.h"
#include "decimal.h"
#include "pod.h"
#include "probe.h"

#define VERSION "HTTP/1."
#define LOOPBACK "127.0.0.1"

static void close_socket(struct probe *probe)
{
    if (probe->socket.fd >= 0) {
        loop_remove(&probe->socket);
        close(probe->socket.fd);
        probe->socket.fd = -1;
    }
}

static const char *host_of(const struct probe *probe)
{
    const char *own = pod_address();

    if (probe->host != NULL) {
        return probe->host;
    }
    return own == NULL ? LOOPBACK : own;
}

bool probe_http_is_good(const char *head, int *status)
{
    bool http = strncmp(head, VERSION, strlen(VERSION)) == 0 &&
                isdigit((unsigned char)head[strlen(VERSION)]) && head[strlen(VERSION) + 1] == ' ';
    uint64_t number;

    *status = 0;
    if (http && decimal_read(head + strlen(VERSION) + 1, &number, 1) == 1 && number <= 999) {
        *status = (int)number;
    }
    return *status >= 200 && *status <= 399;
}

static void answer_http(struct probe *probe)
{
    int status;
    bool good = probe_http_is_good(probe->head, &status);

    close_socket(probe);
    if (status == 0) {
        probe_answer(probe, false, "the answer is not HTTP");
    } else {
        probe_answer(probe, good, "HTTP status %d", status);
    }
}

static void on_readable(struct watch *watch, uint32_t events)
{
    struct probe *probe = container_of(watch, struct probe, socket);
    ssize_t count = recv(watch->fd, probe->head + probe->head_size,
                         PROBE_HEAD_MAX - probe->head_size, 0);

    (void)events;
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count < 0 && probe->head_size == 0) {
        int error = errno;
        close_socket(probe);
        probe_answer(probe, false, "%s", strerror(error));
        return;
    }
    probe->head_size += count > 0 ? (size_t)count : 0;
    probe->head[probe->head_size] = 0;
    /* The first line is all that counts. */
    if (count <= 0 || strchr(probe->head, '\n') != NULL || probe->head_size == PROBE_HEAD_MAX) {
        answer_http(probe);
    }
}

/* The request is short enough for the buffer of a new socket. */
static int send_request(const struct probe *probe)
{
    const char *host = host_of(probe);
    bool six = strchr(host, ':') != NULL;
    char host_line[INET6_ADDRSTRLEN + 32] = "";
    char *text = NULL;

    if (!probe->has_host_header) {
        snprintf(host_line, sizeof(host_line), "Host: %s%s%s:%u\r\n", six ? "[" : "", host,
                 six ? "]" : "", probe->port);
    }
    int length = asprintf(&text,
                          "GET %s HTTP/1.1\r\n%s%sUser-Agent: nova-hyper-probe\r\nAccept: */*\r\n"
                          "Connection: close\r\n\r\n",
                          probe->path, host_line, probe->headers);
    if (length < 0) {
        return -1;
    }
    ssize_t sent = send(probe->socket.fd, text, (size_t)length, MSG_NOSIGNAL);
    free(text);
    return sent == length ? 0 : -1;
}

static void on_connected(struct watch *watch, uint32_t events)
{
    struct probe *probe = container_of(watch, struct probe, socket);
    int error = 0;
    socklen_t size = sizeof(error);

    (void)events;
    getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0 || (probe->kind == PROBE_HTTP && send_request(probe) < 0)) {
        error = error == 0 ? errno : error;
        close_socket(probe);
        probe_answer(probe, false, "%s", strerror(error));
        return;
    }
    if (probe->kind == PROBE_TCP) {
        close_socket(probe);
        probe_answer(probe, true, "port %u is open", probe->port);
        return;
    }
    probe->head_size = 0;
    probe->socket.on_ready = on_readable;
    loop_change(&probe->socket, EPOLLIN);
}

static socklen_t resolve(const struct probe *probe, struct sockaddr_storage *address)
{
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;

    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, host_of(probe), &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(probe->port);
        return sizeof(*four);
    }
    inet_pton(AF_INET6, host_of(probe), &six->sin6_addr);
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(probe->port);
    return sizeof(*six);
}

void probe_net_begin(struct probe *probe)
{
    struct sockaddr_storage address;
    socklen_t size = resolve(probe, &address);

    probe->socket.fd =
        socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe->socket.fd < 0) {
        probe_answer(probe, false, "no socket: %s", strerror(errno));
        return;
    }
    if (connect(probe->socket.fd, (struct sockaddr *)&address, size) < 0 && errno != EINPROGRESS) {
        int error = errno;
        close(probe->socket.fd);
        probe->socket.fd = -1;
        probe_answer(probe, false, "%s", strerror(error));
        return;
    }
    probe->socket.on_ready = on_connected;
    loop_add(&probe->socket, EPOLLOUT);
}

void probe_net_give_up(struct probe *probe)
{
    close_socket(probe);
}
