#ifndef AGENT_CONSOLE_H
#define AGENT_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

/* The containers' output on its way to the console device. */

/* *on_drained* is called when there is room again. */
void console_init(void (*on_drained)(void));

/* Bytes that can be appended now; 0 while the host is slow. */
size_t console_room(void);

/* Append at most console_room() bytes.  Where there is no console, or nobody has taken anything
 * from it for a while, they are discarded. */
void console_append(const char *bytes, size_t count);

bool console_is_done(void);

#endif
