#ifndef AGENT_COPY_H
#define AGENT_COPY_H

#include "failure.h"

/* Copy all that is in the directory *source* into the directory *target_fd*, unless something is
 * there: with owners, modes, times, extended attributes and links; the directory itself gets the
 * owner and mode of *source*, also of an empty one: that is whom the image has made it for. */
int copy_when_empty(const char *source, int target_fd, struct failure *why);

#endif
