#ifndef AGENT_FEATURES_H
#define AGENT_FEATURES_H

#include <jansson.h>

/* The names of what this agent can do beyond the first version of the protocol, as hello lists
 * them. */
json_t *features_list(void);

#endif
