#include "podfiles.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "file.h"

static int write_stream(const char *path, char *text, size_t size)
{
    int result = text == NULL || size == 0 ? file_replace(path, "") : file_replace(path, text);

    free(text);
    return result;
}

static int write_hosts(const char *hostname, const char *address)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL) {
        return -1;
    }
    fputs("127.0.0.1\tlocalhost\n"
          "::1\tlocalhost ip6-localhost ip6-loopback\n"
          "ff02::1\tip6-allnodes\n"
          "ff02::2\tip6-allrouters\n",
          stream);
    if (hostname[0] != 0) {
        /* A pod without an address still resolves its own name, as on Debian. */
        fprintf(stream, "%s\t%s\n", address == NULL ? "127.0.1.1" : address, hostname);
    }
    if (fclose(stream) != 0) {
        free(text);
        return -1;
    }
    return write_stream(PODFILES_HOSTS, text, size);
}

int podfiles_prepare(void)
{
    static bool prepared;

    if (prepared) {
        return 0;
    }
    if (file_make_directories(PODFILES_SHM, 0755) < 0 ||
        mount("shm", PODFILES_SHM, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777") < 0) {
        return -1;
    }
    if (file_replace(PODFILES_HOSTNAME, "") < 0 || file_replace(PODFILES_RESOLV_CONF, "") < 0 ||
        write_hosts("", NULL) < 0) {
        return -1;
    }
    prepared = true;
    return 0;
}

static int write_resolv_conf(const json_t *nameservers, const json_t *search)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL) {
        return -1;
    }
    for (size_t i = 0; i < json_array_size(nameservers); i++) {
        fprintf(stream, "nameserver %s\n", json_string_value(json_array_get(nameservers, i)));
    }
    for (size_t i = 0; i < json_array_size(search); i++) {
        fprintf(stream, "%s%s%s", i == 0 ? "search " : " ",
                json_string_value(json_array_get(search, i)),
                i + 1 == json_array_size(search) ? "\n" : "");
    }
    if (fclose(stream) != 0) {
        free(text);
        return -1;
    }
    return write_stream(PODFILES_RESOLV_CONF, text, size);
}

int podfiles_write(const char *hostname, const char *address, const json_t *nameservers,
                   const json_t *search)
{
    char line[80];

    if (podfiles_prepare() < 0) {
        return -1;
    }
    snprintf(line, sizeof(line), "%s\n", hostname);
    if (file_replace(PODFILES_HOSTNAME, hostname[0] == 0 ? "" : line) < 0 ||
        write_hosts(hostname, address) < 0) {
        return -1;
    }
    return write_resolv_conf(nameservers, search);
}
