#include "change.h"

#include <jansson.h>
#include <stdint.h>

#include "loop.h"
#include "reply.h"

#define GAP_NS 200000000u

static struct timer timer;
static uint64_t told_ns;

static void tell(struct timer *due)
{
    (void)due;
    told_ns = monotonic_ns();
    event_send(json_pack("{s:s}", "event", "pod.changed"));
}

void change_note(const struct container *container)
{
    uint64_t since = monotonic_ns() - told_ns;

    if (container->supervision.active && timer.due_ns == 0) {
        timer.on_due = tell;
        timer_set(&timer, since < GAP_NS ? GAP_NS - since : 0);
    }
}
