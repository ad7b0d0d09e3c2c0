#ifndef AGENT_DISK_H
#define AGENT_DISK_H

#include <stddef.h>

#include "failure.h"

/* virtio-blk's limit for a serial number (VIRTIO_BLK_ID_BYTES). */
#define DISK_SERIAL_MAX 20

/* Find the virtio disk with this serial number, waiting a little for one that was just plugged;
 * gives its device (/dev/vdX). */
int disk_find(const char *serial, char *device, size_t size, struct failure *why);

#endif
