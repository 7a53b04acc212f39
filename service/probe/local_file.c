/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See local_file.h. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "probe/local_file.h"

enum { FILES_MAX = 256 };

static int file_read(const char *path, Buffer *to)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        struct stat st;
        char *at;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        for (;;) {
                ssize_t n;

                r = buffer_reserve(to, MIN((size_t) 16384, to->max - to->len), &at);
                if (r < 0)
                        return r;
                n = read(fd, at, MIN((size_t) 16384, to->max - to->len));
                if (n < 0)
                        return -errno;
                buffer_commit(to, (size_t) n);
                if (to->len > LIMIT_DOCUMENT)
                        return -EFBIG;
                if (n == 0)
                        return 0;
        }
}

static int compare(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int one_file(const char *directory, const char *name,
                    int (*take)(const char *, const char *, size_t, void *), void *userdata)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(LIMIT_DOCUMENT + 1);
        _cleanup_free_ char *path = NULL;
        int r;

        r = text_format(&path, "%s/%s", directory, name);
        if (r == 0)
                r = file_read(path, &buffer);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                (void) log_fault(r, "%s", path);
                return 0;
        }
        return take(path, buffer.data ? buffer.data : "", buffer.len, userdata);
}

int local_files_read(const char *directory, const char *ending,
                     int (*take)(const char *path, const char *text, size_t len, void *userdata),
                     void *userdata)
{
        struct dirent **entries = NULL;
        int n = scandir(directory, &entries, NULL, compare), r = 0;

        if (n < 0) {
                if (errno != ENOENT)
                        (void) log_fault(-errno, "%s", directory);
                return 0;
        }
        for (int i = 0; i < n; i++) {
                if (r == 0 && i < FILES_MAX && entries[i]->d_name[0] != '.' &&
                    text_ends_nocase(entries[i]->d_name, ending))
                        r = one_file(directory, entries[i]->d_name, take, userdata);
                free(entries[i]);
        }
        free(entries);
        return r;
}
