"""A program that lists a tree in full, and what its listings say: to compare two trees."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Made by the host and by hyperd for every container: not the image's.
NOT_THE_IMAGES = {"/", "/dev", "/proc", "/sys", "/run"}
NOT_THE_IMAGES |= {"/etc", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}

# Prints a line for everything below a directory, without crossing into other file systems.
LISTER = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
static void quoted(const unsigned char *s, size_t n) {
    for (size_t i = 0; i < n; i++) printf("%02x", s[i]);
}
static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}
static size_t root;
static int entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)flag; (void)ftw;
    const char *name = path[root] ? path + root : "/";
    quoted((const unsigned char *)name, strlen(name));
    printf(" %o %u:%u %lld", st->st_mode, st->st_uid, st->st_gid, (long long)st->st_mtime);
    if (S_ISREG(st->st_mode)) {
        unsigned long long sum = 14695981039346656037ULL;
        unsigned char data[65536];
        ssize_t n;
        int fd = open(path, O_RDONLY);
        while ((n = read(fd, data, sizeof data)) > 0)
            for (ssize_t i = 0; i < n; i++) sum = (sum ^ data[i]) * 1099511628211ULL;
        close(fd);
        printf(" %lld %llx", (long long)st->st_size, sum);
    } else if (S_ISLNK(st->st_mode)) {
        char target[4096];
        ssize_t n = readlink(path, target, sizeof target);
        printf(" -> ");
        quoted((unsigned char *)target, n > 0 ? (size_t)n : 0);
    } else if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        printf(" %u:%u", major(st->st_rdev), minor(st->st_rdev));
    }
    char names[65536], *sorted[256];
    ssize_t length = llistxattr(path, names, sizeof names);
    size_t count = 0;
    for (char *at = names; length > 0 && at < names + length && count < 256; at += strlen(at) + 1)
        sorted[count++] = at;
    qsort(sorted, count, sizeof *sorted, compare);
    for (size_t i = 0; i < count; i++) {
        if (!strncmp(sorted[i], "trusted.", 8)) continue;
        unsigned char value[65536];
        ssize_t n = lgetxattr(path, sorted[i], value, sizeof value);
        printf(" %s=", sorted[i]);
        quoted(value, n > 0 ? (size_t)n : 0);
    }
    putchar('\n');
    return 0;
}
int main(int argc, char **argv) {
    const char *top = argc > 1 ? argv[1] : "/";
    root = strcmp(top, "/") ? strlen(top) : 0;
    int failed = nftw(top, entry, 64, FTW_PHYS | FTW_MOUNT);
    puts(failed ? "FAILED" : "END");
    return failed;
}
"""


def build(directory: Path) -> Path:
    """Return a static program that lists a tree: the same one lists on both sides."""
    source = directory / "list.c"
    source.write_text(LISTER)
    subprocess.run(["gcc", "-O2", "-static", "-o", directory / "list", source], check=True)
    return directory / "list"


def lines(text):
    """The listing by name, without what is not the image's."""
    assert text.rstrip().endswith("END"), text[-200:]
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if rest and bytes.fromhex(name).decode(errors="replace") not in NOT_THE_IMAGES:
            found[bytes.fromhex(name)] = rest
    return found
