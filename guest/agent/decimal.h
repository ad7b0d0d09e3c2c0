#ifndef AGENT_DECIMAL_H
#define AGENT_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

/* Read at most *count* decimal numbers with blanks between them; gives how many there are.  A
 * negative one is taken modulo 2^64.  (sscanf would cost every guest 80 KiB.) */
size_t decimal_read(const char *text, uint64_t *numbers, size_t count);

#endif
