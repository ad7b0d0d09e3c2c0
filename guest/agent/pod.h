#ifndef AGENT_POD_H
#define AGENT_POD_H

#include <stdbool.h>

/* True once pod.configure has gone well. */
bool pod_is_configured(void);

/* The pod's first address, without prefix length; NULL when it has none. */
const char *pod_address(void);

#endif
