#ifndef AGENT_NETWORK_H
#define AGENT_NETWORK_H

#include <jansson.h>

#include "failure.h"

/* Bring up lo, and the interfaces of the list *nics* (as in pod.configure) with their MTU,
 * addresses and routes.  Doing it again changes nothing. */
int network_configure(const json_t *nics, struct failure *why);

#endif
