#include "tar.h"

#include <stdlib.h>
#include <string.h>

int64_t tar_padding(int64_t size)
{
    return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

void tar_member_clear(struct tar_member *member)
{
    while (member->xattrs != NULL) {
        struct tar_xattr *xattr = member->xattrs;
        member->xattrs = xattr->next;
        free(xattr->name);
        free(xattr->value);
        free(xattr);
    }
    free(member->name);
    free(member->link);
    memset(member, 0, sizeof(*member));
}

int tar_member_add_xattr(struct tar_member *member, const char *name, const char *value,
                         size_t size)
{
    struct tar_xattr *xattr = calloc(1, sizeof(*xattr));

    if (xattr == NULL) {
        return -1;
    }
    xattr->name = strdup(name);
    xattr->value = malloc(size + 1);
    xattr->size = size;
    xattr->next = member->xattrs;
    member->xattrs = xattr;
    if (xattr->name == NULL || xattr->value == NULL) {
        return -1;
    }
    memcpy(xattr->value, value, size);
    return 0;
}
