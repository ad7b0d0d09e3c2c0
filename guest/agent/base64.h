#ifndef AGENT_BASE64_H
#define AGENT_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Characters that *bytes* bytes take. */
#define BASE64_LENGTH(bytes) (((bytes) + 2) / 3 * 4)

/* Decode RFC 4648 base64 with padding; -1 when *text* is not that or does not fit. */
int base64_decode(const char *text, uint8_t *bytes, size_t size, size_t *count);

#endif
