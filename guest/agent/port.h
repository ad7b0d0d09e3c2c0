#ifndef AGENT_PORT_H
#define AGENT_PORT_H

/* Open the virtio-serial port that the host has given *name*, without blocking, with open's
 * *flags*; -1 when it is not there (yet). */
int port_open(const char *name, int flags);

#endif
