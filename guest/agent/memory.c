#include "memory.h"

#include <stdio.h>

struct memory memory_read(void)
{
    struct memory memory = {0, 0};
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");

    if (file == NULL) {
        return memory;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "MemTotal: %ld", &memory.total_kib) == 1) {
            continue;
        }
        if (sscanf(line, "MemAvailable: %ld", &memory.available_kib) == 1) {
            break;
        }
    }
    fclose(file);
    return memory;
}
