#ifndef AGENT_SYSCTL_H
#define AGENT_SYSCTL_H

#include <jansson.h>
#include <stddef.h>

#include "failure.h"

/* Set the kernel's parameters that "sysctls" of a pod.configure names. */
int sysctl_set_all(const json_t *request, struct failure *why);

/* Write the file below /proc/sys of a parameter ("net.ipv4.tcp_syncookies", or with slashes where
 * a name has dots, as sysctl(8) takes both) to *path*; -1 when it is none. */
int sysctl_path(const char *name, char *path, size_t size);

#endif
