#ifndef AGENT_STOPSIGNAL_H
#define AGENT_STOPSIGNAL_H

/* The signal that *text* names ("SIGTERM", "TERM", "15", "SIGRTMIN+3"), or -1. */
int stopsignal_parse(const char *text);

#endif
