#include "request.h"

const struct operation_entry operations[] = {
    {"hello", hello},
    {"pod.configure", pod_configure},
    {"pod.status", pod_status},
    {"container.create", container_create},
    {"container.start", container_start},
    {"container.stop", container_stop},
    {"clock.set", clock_set},
    {"entropy.add", entropy_add},
    {"power.off", power_off},
    {NULL, NULL},
};
