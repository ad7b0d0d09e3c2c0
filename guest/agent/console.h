#ifndef AGENT_CONSOLE_H
#define AGENT_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

/* The containers' output on its way to the console device, through one bounded buffer. */

/* *on_drained* is called when the buffer has become empty. */
void console_init(void (*on_drained)(void));

/* Bytes that can be appended now; 0 while the host takes nothing. */
size_t console_room(void);

/* Append at most console_room() bytes.  Where there is no console they are discarded. */
void console_append(const char *bytes, size_t count);

bool console_is_empty(void);

#endif
