#ifndef AGENT_CHANGE_H
#define AGENT_CHANGE_H

#include "container.h"

/* Tell the host that pod.status shows something new of a container that pod.start has started: with
 * the event pod.changed, at most five times a second. */
void change_note(const struct container *container);

#endif
