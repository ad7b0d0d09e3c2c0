#include "port.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "file.h"

#define PORTS "/sys/class/virtio-ports"

static bool find(const char *wanted, char *path, size_t size)
{
    bool found = false;
    DIR *ports = opendir(PORTS);

    if (ports == NULL) {
        return false;
    }
    for (struct dirent *entry; !found && (entry = readdir(ports)) != NULL;) {
        char file[sizeof(PORTS) + sizeof(entry->d_name) + 8];
        char name[64];
        snprintf(file, sizeof(file), PORTS "/%s/name", entry->d_name);
        found = entry->d_name[0] != '.' && file_read_line(file, name, sizeof(name)) == 0 &&
                strcmp(name, wanted) == 0;
        if (found) {
            snprintf(path, size, "/dev/%s", entry->d_name);
        }
    }
    closedir(ports);
    return found;
}

int port_open(const char *name, int flags)
{
    char path[280];

    return find(name, path, sizeof(path)) ? open(path, flags | O_NONBLOCK | O_CLOEXEC) : -1;
}
