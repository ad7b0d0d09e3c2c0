#ifndef AGENT_CHANNEL_H
#define AGENT_CHANNEL_H

#include "frame.h"

/* The virtio-serial port to the host. */

/* Wait for the port, open it and join the loop; -1 when it does not appear. */
int channel_open(frame_handler *handler);

/* Queue a frame.  Events are dropped while the host is away or does not read; responses never are,
 * since no request is read while one would not fit. */
void channel_send(enum frame_type type, uint32_t id, const char *payload, size_t length);

/* Wait until everything queued has been taken by the host, at most *limit_ms*. */
void channel_flush(int limit_ms);

#endif
