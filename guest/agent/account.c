#include "account.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "container.h"
#include "enter.h"
#include "field.h"
#include "keys.h"
#include "process.h"
#include "reply.h"
#include "request.h"
#include "shadow.h"

#define MAX_KEYS 64
#define MAX_KEY (32 * 1024)
#define MAX_HASH 255
#define USER_NAME_MAX 32
/* The file system may be one that a container serves, and never answers. */
#define LIMIT_NS 20000000000u
#define DAY_S 86400

enum { SET_PASSWORD = 1, SET_KEYS = 2 };

/* One account.set under way, in a process of its own. */
struct account {
    struct process process;
    struct timer limit;
    uint32_t request_id;
    bool silent; /* nobody waits for the answer */
    bool timed_out;
    int report_fd;
    const char *user, *hash; /* only until the process is started */
    char **keys;
    struct account *next;
};

static struct account *accounts;

/* All that was written is on the disk afterwards: a pod may be ended at any moment, and this happens
 * once in its life. */
static int flush(struct failure *why)
{
    int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = root < 0 || syncfs(root) < 0
                     ? failure_set(why, "disk", "the container's files cannot be flushed: %s",
                                   strerror(errno))
                     : 0;

    if (root >= 0) {
        close(root);
    }
    return result;
}

static int set(const struct container *container, void *context, struct failure *why)
{
    const struct account *account = context;
    int done = 0, result = 0;

    (void)container;
    if (account->hash[0] != 0) {
        result = shadow_set("/etc/shadow", account->user, account->hash, time(NULL) / DAY_S, why);
        done |= result > 0 ? SET_PASSWORD : 0;
    }
    if (result >= 0 && account->keys[0] != NULL) {
        result = keys_add("/etc/passwd", account->user, account->keys, why);
        done |= result > 0 ? SET_KEYS : 0;
    }
    return result < 0 || flush(why) < 0 ? -1 : done;
}

static void forget(struct account *account)
{
    struct account **link = &accounts;

    while (*link != account) {
        link = &(*link)->next;
    }
    *link = account->next;
    free(account);
}

static void on_exit_of(struct process *process, int status)
{
    struct account *account = container_of(process, struct account, process);
    struct failure why = {.code = "internal", .message = "the account's process was killed"};
    int done = process_exit_code(status);

    timer_cancel(&account->limit);
    if (account->timed_out) {
        failure_set(&why, "internal", "the container's file system did not answer in time");
    } else if (done == 127) {
        (void)!read(account->report_fd, &why, sizeof(why));
        why.code[sizeof(why.code) - 1] = 0;
        why.message[sizeof(why.message) - 1] = 0;
    }
    close(account->report_fd);
    if (!account->silent && done <= (SET_PASSWORD | SET_KEYS)) {
        reply_ok(account->request_id,
                 json_pack("{s:b, s:b}", "password", (done & SET_PASSWORD) != 0, "keys",
                           (done & SET_KEYS) != 0));
    } else if (!account->silent) {
        reply_failure(account->request_id, &why);
    }
    forget(account);
}

static void on_limit(struct timer *timer)
{
    struct account *account = container_of(timer, struct account, limit);

    account->timed_out = true;
    kill(account->process.pid, SIGKILL);
}

static enum outcome begin(struct account *account, const struct container *container,
                          struct failure *why)
{
    int report[2];

    if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0) {
        failure_set(why, "internal", "no pipe for the account: %s", strerror(errno));
        return OUTCOME_FAILED;
    }
    pid_t pid = enter_tree(container, report[1], set, account, why);
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return OUTCOME_FAILED;
    }
    account->report_fd = report[0];
    account->limit.on_due = on_limit;
    timer_set(&account->limit, LIMIT_NS);
    process_watch(&account->process, pid, on_exit_of);
    account->next = accounts;
    accounts = account;
    return OUTCOME_LATER;
}

static bool is_line(const char *text)
{
    for (; *text != 0; text++) {
        if ((unsigned char)*text < ' ' || *text == 127) {
            return false;
        }
    }
    return true;
}

static int parse(const json_t *request, struct account *account, struct failure *why)
{
    if (field_string(request, "user", USER_NAME_MAX, "root", &account->user, why) < 0 ||
        field_string(request, "password", MAX_HASH, "", &account->hash, why) < 0 ||
        field_strings(request, "keys", MAX_KEYS, MAX_KEY, &account->keys, why) < 0) {
        return -1;
    }
    if (!field_is_name(account->user, USER_NAME_MAX)) {
        return failure_set(why, "invalid", "\"%s\" is not the name of a user", account->user);
    }
    if (!is_line(account->hash) || strchr(account->hash, ':') != NULL) {
        return failure_set(why, "invalid", "\"password\" is not what crypt gives");
    }
    for (char *const *key = account->keys; *key != NULL; key++) {
        if ((*key)[0] == 0 || !is_line(*key)) {
            return failure_set(why, "invalid", "an item of \"keys\" is not one line");
        }
    }
    return 0;
}

enum outcome account_set(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    const struct container *container = container_named(request, why);
    struct account *account = container == NULL ? NULL : calloc(1, sizeof(*account));

    (void)fields;
    if (account == NULL) {
        if (container != NULL) {
            failure_set(why, "internal", "the agent has no memory left");
        }
        return OUTCOME_FAILED;
    }
    account->request_id = id;
    enum outcome outcome =
        parse(request, account, why) < 0 ? OUTCOME_FAILED : begin(account, container, why);
    field_free_strings(account->keys);
    account->keys = NULL;
    if (outcome == OUTCOME_FAILED) {
        free(account);
    }
    return outcome;
}

void account_forget_host(void)
{
    for (struct account *at = accounts; at != NULL; at = at->next) {
        at->silent = true;
    }
}
