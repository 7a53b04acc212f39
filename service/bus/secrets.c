/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See secrets.h. The descriptor is the caller's in every respect, so nothing is done with it that he could make block: a file behind
 * a file system of his own is refused, and a pipe is emptied by splice(), which does not wait whatever flags he sets. */
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/buffer.h"
#include "base/fiber.h"
#include "base/limits.h"
#include "bus/errors.h"
#include "bus/secrets.h"

static const char *const unreadable =
        "must be the reading end of a pipe, or a memfd of at most 4096 bytes";

/* A line end inside would be a second command in POP3 and SMTP; NUL ends the text for many servers. */
static int secret_make(const char *data, size_t len, Secret **ret, sd_bus_error *error)
{
        int r;

        if (len == 0)
                return error_argument(error, "secret", "is empty");
        if (len > LIMIT_SECRET)
                return error_argument(error, "secret", "is too long");
        if (memchr(data, '\r', len) || memchr(data, '\n', len) || memchr(data, '\0', len))
                return error_argument(error, "secret", "has a line end or NUL inside");
        r = secret_new(ret, data, len);
        return r < 0 ? error_fault(error, r, "keeping a secret") : 0;
}

int secret_read_text(sd_bus_message *m, Secret **ret, sd_bus_error *error)
{
        const char *text;
        int r;

        r = sd_bus_message_sensitive(m);
        if (r >= 0)
                r = sd_bus_message_read_basic(m, 's', &text);
        if (r < 0)
                return error_fault(error, r, "reading a secret");
        return secret_make(text, strlen(text), ret, error);
}

/* One byte more than allowed shows that there is more. Returns the number of bytes, 0 at the end. */
static ssize_t read_some(int fd, Buffer *to)
{
        size_t room = LIMIT_SECRET + 3 - to->len;
        ssize_t n;
        char *at;
        int r;

        if (room == 0)
                return 0;
        r = buffer_reserve(to, room, &at);
        if (r < 0)
                return r;
        n = read(fd, at, room);
        if (n < 0)
                return -errno;
        buffer_commit(to, (size_t) n);
        return n;
}

static int read_memory(int fd, off_t size, Buffer *to)
{
        struct statfs fs;
        ssize_t n;

        if (fstatfs(fd, &fs) < 0)
                return -errno;
        if (fs.f_type != TMPFS_MAGIC || size > LIMIT_SECRET + 2)
                return -EINVAL;
        /* A memfd is mostly passed right after it was written. */
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        do
                n = read_some(fd, to);
        while (n > 0);
        return (int) n;
}

static int read_pipe(int fd, Buffer *to)
{
        _cleanup_(fd_watch_freep) FdWatch *watch = NULL;
        _cleanup_close_ int in = -1;
        _cleanup_close_ int out = -1;
        int ends[2], r;

        if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        out = ends[0];
        in = ends[1];
        r = fd_watch_new(&watch, fd);
        if (r < 0)
                return r;
        for (;;) {
                ssize_t n = splice(fd, NULL, in, NULL, LIMIT_SECRET, SPLICE_F_NONBLOCK);

                if (n < 0 && errno != EAGAIN)
                        return -errno;
                if (n == 0)
                        return 0;
                if (n > 0)
                        n = read_some(out, to);
                else
                        n = fd_watch_wait(watch, EPOLLIN);
                if (n <= 0)
                        return (int) n;
        }
}

static int read_fd(int fd, Buffer *to)
{
        FIBER_DEADLINE(LIMIT_SECRET_FD_USEC);
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISFIFO(st.st_mode))
                return read_pipe(fd, to);
        return S_ISREG(st.st_mode) ? read_memory(fd, st.st_size, to) : -EINVAL;
}

int secret_read_fd(int fd, Secret **ret, sd_bus_error *error)
{
        _cleanup_buffer_ Buffer read = BUFFER_SECRET(LIMIT_SECRET + 4);
        int r = read_fd(fd, &read);

        if (r == -ETIME)
                return error_argument(error, "secret", "did not come to its end in time");
        if (r == -ECANCELED || r == -ENOMEM)
                return error_fault(error, r, "reading a secret");
        if (r < 0)
                return error_argument(error, "secret", unreadable);
        if (read.len > 0 && read.data[read.len - 1] == '\n')
                read.len--;
        if (read.len > 0 && read.data[read.len - 1] == '\r')
                read.len--;
        return secret_make(read.data, read.len, ret, error);
}
