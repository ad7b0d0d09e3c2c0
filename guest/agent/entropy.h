#ifndef AGENT_ENTROPY_H
#define AGENT_ENTROPY_H

#include <jansson.h>

#include "failure.h"

/* Give the kernel the entropy in the field "entropy" (base64), credited, and reseed. */
int entropy_take(const json_t *object, struct failure *why);

#endif
