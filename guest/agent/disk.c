#include "disk.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

#define BLOCK "/sys/block"
#define WAIT_MS 2000
#define STEP_MS 5

static bool look(const char *serial, char *device, size_t size)
{
    bool found = false;
    DIR *disks = opendir(BLOCK);

    if (disks == NULL) {
        return false;
    }
    for (struct dirent *entry; !found && (entry = readdir(disks)) != NULL;) {
        char path[sizeof(BLOCK) + sizeof(entry->d_name) + 8];
        char line[DISK_SERIAL_MAX + 2];
        if (strncmp(entry->d_name, "vd", 2) != 0) {
            continue;
        }
        snprintf(path, sizeof(path), BLOCK "/%s/serial", entry->d_name);
        if (file_read_line(path, line, sizeof(line)) == 0 && strcmp(line, serial) == 0) {
            snprintf(device, size, "/dev/%s", entry->d_name);
            found = true;
        }
    }
    closedir(disks);
    return found;
}

int disk_find(const char *serial, char *device, size_t size, struct failure *why)
{
    for (int waited = 0; !look(serial, device, size); waited += STEP_MS) {
        if (waited >= WAIT_MS) {
            return failure_set(why, "disk", "there is no disk with serial number \"%s\"", serial);
        }
        usleep(STEP_MS * 1000);
    }
    return 0;
}
