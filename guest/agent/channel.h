#ifndef AGENT_CHANNEL_H
#define AGENT_CHANNEL_H

#include "frame.h"

/* The virtio-serial port to the host. */

/* Wait for the port, open it and join the loop; -1 when it does not appear.  *on_drained* is
 * called when channel_room() has been 0 and is not any more. */
int channel_open(frame_handler *handler, void (*on_drained)(void));

/* Queue a frame.  Events are dropped while the host is away or does not read; what is not an event
 * never is, since no request is read while its answer would not fit, and data waits for
 * channel_room(). */
void channel_send(enum frame_type type, uint32_t id, const char *payload, size_t length);

/* Queue a frame of a stream, which has *flags*, or an event that must arrive. */
void channel_send_surely(enum frame_type type, uint8_t flags, uint32_t id, const char *payload,
                         size_t length);

/* How many bytes of streams may be queued now; 0 while enough waits for the host, so that the
 * answers to requests have but little before them. */
size_t channel_room(void);

/* Wait until everything queued has been taken by the host, at most *limit_ms*. */
void channel_flush(int limit_ms);

#endif
