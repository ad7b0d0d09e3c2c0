#include "security.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base64.h"
#include "capability.h"
#include "field.h"

#define MAX_ID 2147483647
#define MAX_FILTER_BYTES (BPF_MAXINSNS * sizeof(struct sock_filter))

static int parse_capabilities(const json_t *object, struct security *security, struct failure *why)
{
    const json_t *list;

    if (field_list(object, "capabilities", CAPABILITY_COUNT, &list, why) < 0) {
        return -1;
    }
    security->drops_capabilities = list != NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        int number = name == NULL ? -1 : capability_parse(name);
        if (number < 0) {
            return failure_set(why, "invalid", "item %zu of \"capabilities\" is not one: \"%s\"", i,
                               name == NULL ? "" : name);
        }
        security->capabilities |= UINT64_C(1) << number;
    }
    return 0;
}

static int parse_filter(const json_t *object, struct security *security, struct failure *why)
{
    const char *text;
    size_t count;

    if (!field_is_set(object, "seccomp")) {
        return 0;
    }
    if (field_string(object, "seccomp", BASE64_LENGTH(MAX_FILTER_BYTES), NULL, &text, why) < 0) {
        return -1;
    }
    uint8_t *bytes = malloc(MAX_FILTER_BYTES);
    if (bytes == NULL) {
        return failure_set(why, "internal", "the agent has no memory left");
    }
    if (base64_decode(text, bytes, MAX_FILTER_BYTES, &count) < 0 || count == 0 ||
        count % sizeof(struct sock_filter) != 0) {
        free(bytes);
        return failure_set(why, "invalid", "\"seccomp\" is not the base64 of at most %d filters",
                           BPF_MAXINSNS);
    }
    security->filter = realloc(bytes, count);
    if (security->filter == NULL) { /* none would be no filter at all */
        free(bytes);
        return failure_set(why, "internal", "the agent has no memory left");
    }
    security->filter_length = (unsigned short)(count / sizeof(struct sock_filter));
    return 0;
}

static int parse_groups(const json_t *object, struct security *security, struct failure *why)
{
    const json_t *list;

    if (field_list(object, "groups", SECURITY_MAX_GROUPS, &list, why) < 0) {
        return -1;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0 ||
            json_integer_value(item) > MAX_ID) {
            return failure_set(why, "invalid", "item %zu of \"groups\" is not a group's number", i);
        }
        security->groups[security->group_count++] = (gid_t)json_integer_value(item);
    }
    return 0;
}

int security_parse(const json_t *request, struct security *security, struct failure *why)
{
    const json_t *object;

    if (field_object(request, "security", &object, why) < 0 ||
        field_boolean(object, "readonly_root", false, &security->readonly_root, why) < 0 ||
        field_boolean(object, "no_new_privs", false, &security->no_new_privs, why) < 0 ||
        parse_capabilities(object, security, why) < 0 || parse_filter(object, security, why) < 0 ||
        parse_groups(object, security, why) < 0) {
        return -1;
    }
    return 0;
}

void security_free(struct security *security)
{
    free(security->filter);
    security->filter = NULL;
}

static int set_groups(const struct security *security, const struct identity *identity)
{
    gid_t groups[USER_MAX_GROUPS + SECURITY_MAX_GROUPS];

    memcpy(groups, identity->groups, identity->group_count * sizeof(*groups));
    memcpy(groups + identity->group_count, security->groups,
           security->group_count * sizeof(*groups));
    return setgroups(identity->group_count + security->group_count, groups);
}

/* What exec makes of root's permitted and effective set is the bounding set, so nothing else has to
 * be taken from it (capabilities(7)); programs of other users get none. */
static int drop_bounding_set(const struct security *security)
{
    for (int number = 0; number < CAPABILITY_COUNT; number++) {
        bool kept = (security->capabilities >> number & 1) != 0;
        /* EINVAL: a capability that this kernel does not have. */
        if (!kept && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0 && errno != EINVAL) {
            return -1;
        }
    }
    return 0;
}

static int set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(effective >> (32 * i));
        data[i].permitted = (uint32_t)(permitted >> (32 * i));
        data[i].inheritable = (uint32_t)(inheritable >> (32 * i));
    }
    return (int)syscall(SYS_capset, &header, data);
}

/* The capabilities until exec: the filter needs CAP_SYS_ADMIN unless there are no new privileges.
 * The bounding set keeps exec from passing it on. */
static int keep_until_exec(const struct security *security, const struct identity *identity)
{
    uint64_t admin = security->filter == NULL ? 0 : UINT64_C(1) << CAP_SYS_ADMIN;
    uint64_t listed = identity->uid == 0 ? security->capabilities : 0;

    if (!security->drops_capabilities) {
        return identity->uid == 0 ? 0 : set_capabilities(admin, admin, 0);
    }
    return set_capabilities(listed | admin, listed | admin, listed);
}

static int install_filter(const struct security *security, struct failure *why)
{
    const struct sock_fprog program = {.len = security->filter_length, .filter = security->filter};

    if (security->filter != NULL &&
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0) {
        return failure_set(why, "exec", "the kernel does not accept the seccomp filter: %s",
                           strerror(errno));
    }
    return 0;
}

int security_become(const struct security *security, const struct identity *identity,
                    struct failure *why)
{
    if (security->drops_capabilities && drop_bounding_set(security) < 0) {
        return failure_set(why, "internal", "capabilities cannot be dropped: %s", strerror(errno));
    }
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || set_groups(security, identity) < 0 ||
        setresgid(identity->gid, identity->gid, identity->gid) < 0 ||
        setresuid(identity->uid, identity->uid, identity->uid) < 0) {
        return failure_set(why, "exec", "user %u cannot be taken: %s", identity->uid,
                           strerror(errno));
    }
    if (keep_until_exec(security, identity) < 0) {
        return failure_set(why, "internal", "capabilities cannot be set: %s", strerror(errno));
    }
    if (security->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return failure_set(why, "internal", "new privileges cannot be refused: %s",
                           strerror(errno));
    }
    return install_filter(security, why);
}
