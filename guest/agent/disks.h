#ifndef AGENT_DISKS_H
#define AGENT_DISKS_H

#include "failure.h"

/* Most disks of a pod beside layers and uppers. */
#define DISKS_MAX 9

/* The pod's disks that every container sees, held over the change of the root.  In the container's
 * process: disks_hold before its root is entered, disks_attach after. */
struct disks_held {
    int trees[DISKS_MAX];
};

int disks_hold(struct disks_held *held, struct failure *why);
int disks_attach(struct disks_held *held, struct failure *why);

/* The devices of disks with a label, and links of that name, in the /dev of a container whose root
 * this process has entered. */
int disks_make_devices(struct failure *why);

#endif
