#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MULTIPLEXER "/dev/pts/ptmx"
/* The group "tty", as devpts is mounted with. */
#define TTY_GROUP 5

static int fail(struct failure *why)
{
    return failure_set(why, "internal", "there is no terminal for the container: %s",
                       strerror(errno));
}

static int send_descriptor(int socket, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    char byte = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };

    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
    return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

int terminal_take(int socket, const struct winsize *size, uid_t owner, struct failure *why)
{
    int unlocked = 0;
    int master = open(MULTIPLEXER, O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0) {
        return fail(why);
    }
    /* Not by its name: what /dev/pts is belongs to the container. */
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0 || ioctl(slave, TIOCSWINSZ, size) < 0 || fchown(slave, owner, TTY_GROUP) < 0 ||
        fchmod(slave, 0620) < 0 || ioctl(slave, TIOCSCTTY, 0) < 0) {
        return fail(why);
    }
    for (int fd = 0; fd < 3; fd++) {
        if (dup2(slave, fd) < 0) {
            return fail(why);
        }
    }
    return send_descriptor(socket, master) < 0 ? fail(why) : 0;
}

int terminal_receive(int socket)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    int master;

    if (recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1) {
        return -1;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(sizeof(int))) {
        return -1;
    }
    memcpy(&master, CMSG_DATA(header), sizeof(int));
    return master;
}

int terminal_resize(int master, const struct winsize *size)
{
    return ioctl(master, TIOCSWINSZ, size);
}
