#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOTAL "MemTotal:"
#define AVAILABLE "MemAvailable:"

struct memory memory_read(void)
{
    struct memory memory = {0, 0};
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");

    if (file == NULL) {
        return memory;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, TOTAL, strlen(TOTAL)) == 0) {
            memory.total_kib = strtol(line + strlen(TOTAL), NULL, 10);
        } else if (strncmp(line, AVAILABLE, strlen(AVAILABLE)) == 0) {
            memory.available_kib = strtol(line + strlen(AVAILABLE), NULL, 10);
            break;
        }
    }
    fclose(file);
    return memory;
}
