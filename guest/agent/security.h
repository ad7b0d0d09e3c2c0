#ifndef AGENT_SECURITY_H
#define AGENT_SECURITY_H

#include <jansson.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "user.h"

#define SECURITY_MAX_GROUPS 64

/* What the programs of a container may do less than the guest's root. */
struct security {
    bool readonly_root;
    bool drops_capabilities;
    uint64_t capabilities; /* a bit for each that is kept */
    bool no_new_privs;
    struct sock_filter *filter; /* seccomp's; NULL for none */
    unsigned short filter_length;
    gid_t groups[SECURITY_MAX_GROUPS]; /* besides those of the image */
    size_t group_count;
};

/* Read "security" of a container.create; what is missing restricts nothing. */
int security_parse(const json_t *request, struct security *security, struct failure *why);
void security_free(struct security *security);

/* Become *identity* for good, with these restrictions; what follows can only be exec. */
int security_become(const struct security *security, const struct identity *identity,
                    struct failure *why);

#endif
