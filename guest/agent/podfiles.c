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

static void write_aliases(FILE *stream, const json_t *hosts)
{
    for (size_t i = 0; i < json_array_size(hosts); i++) {
        const json_t *host = json_array_get(hosts, i);
        const json_t *names = json_object_get(host, "names");
        fputs(json_string_value(json_object_get(host, "ip")), stream);
        for (size_t j = 0; j < json_array_size(names); j++) {
            fprintf(stream, "\t%s", json_string_value(json_array_get(names, j)));
        }
        fputc('\n', stream);
    }
}

static int write_hosts(const char *hostname, const char *address, const json_t *hosts)
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
    write_aliases(stream, hosts);
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
        write_hosts("", NULL, NULL) < 0) {
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

int podfiles_write(const char *hostname, const char *address, const json_t *hosts,
                   const json_t *nameservers, const json_t *search)
{
    char line[80];

    if (podfiles_prepare() < 0) {
        return -1;
    }
    snprintf(line, sizeof(line), "%s\n", hostname);
    if (file_replace(PODFILES_HOSTNAME, hostname[0] == 0 ? "" : line) < 0 ||
        write_hosts(hostname, address, hosts) < 0) {
        return -1;
    }
    return write_resolv_conf(nameservers, search);
}
