#ifndef AGENT_PODFILES_H
#define AGENT_PODFILES_H

#include <jansson.h>

/* The files of /etc that all containers of the pod share, and the shared memory. */
#define PODFILES_DIRECTORY "/run/pod"
#define PODFILES_HOSTNAME PODFILES_DIRECTORY "/hostname"
#define PODFILES_HOSTS PODFILES_DIRECTORY "/hosts"
#define PODFILES_RESOLV_CONF PODFILES_DIRECTORY "/resolv.conf"
#define PODFILES_SHM PODFILES_DIRECTORY "/shm"

/* Make the directory, empty files and /dev/shm; idempotent.  -1 with errno. */
int podfiles_prepare(void);

/* Write the files.  *address* (without prefix length) is the pod's own, NULL for none; *hosts* is
 * a list of further {"ip", "names"}, *nameservers* and *search* are lists of strings; each may be
 * NULL. */
int podfiles_write(const char *hostname, const char *address, const json_t *hosts,
                   const json_t *nameservers, const json_t *search);

#endif
