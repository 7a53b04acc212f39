/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opens a directory by its absolute path, name by name, and makes what is missing: the one way to reach the state directory
 * and the Maildirs. A trusted walk refuses what others could have planted. */
#pragma once

#include <sys/types.h>

#include "base/util.h"

typedef enum DirectoryWalk {
        DIRECTORY_MAKE = 1 << 0, /* makes missing ones, and fsyncs where a name was added */
        DIRECTORY_TRUSTED =
                1
                << 1, /* every directory must be root's or ours and not writable by others (or sticky),
                                     * a link on the way root's or ours, and the last name no link at all */
} DirectoryWalk;

/* @mode is for the ones made here, whatever the umask. Returns 0, -EINVAL (not absolute, or "." or ".." in it), -ENOENT,
 * -EPERM (not to be trusted), -ELOOP (a link where none may be), -errno. */
int directory_open(int *ret_fd, const char *path, mode_t mode, unsigned walk);
/* The same for one name in an open directory; never through a link. Returns 1 when it was made here. */
int directory_open_at(int *ret_fd, int parent, const char *name, mode_t mode, unsigned walk);

/* Hands a descriptor over, as TAKE() does a pointer. */
static inline int fd_take(int *fd)
{
        int t = *fd;

        *fd = -1;
        return t;
}
