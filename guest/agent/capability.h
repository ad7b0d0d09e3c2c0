#ifndef AGENT_CAPABILITY_H
#define AGENT_CAPABILITY_H

/* As many as the kernel's headers know: CAP_LAST_CAP + 1 of Linux 5.9 and later. */
#define CAPABILITY_COUNT 41

/* The number of a capability ("CAP_NET_RAW"), or -1. */
int capability_parse(const char *name);

#endif
