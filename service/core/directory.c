/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See directory.h. The directories on the way are held with O_PATH only: a parent that may be passed but not read (0711) is
 * enough, and a name that is exchanged behind us changes nothing. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "core/directory.h"

static bool owner_trusted(const struct stat *st)
{
        return st->st_uid == 0 || st->st_uid == geteuid();
}

static int directory_check(int fd)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!owner_trusted(&st) || ((st.st_mode & 022) && !(st.st_mode & S_ISVTX)))
                return -EPERM;
        return 0;
}

/* Under a name of its own, which a crash may have left: mkdirat() obeys the umask, and whoever finds the directory under its real
 * name must find it with its mode, too. */
static int directory_prepare(int parent, const char *name, mode_t mode)
{
        _cleanup_close_ int fd = -1;
        struct stat st;

        if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (st.st_uid != geteuid())
                return -EPERM;
        return fchmod(fd, mode) < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Returns 0 when @to is there already. */
static int directory_publish(int parent, const char *from, const char *to)
{
        int r = 1;

        if (renameat2(parent, from, parent, to, RENAME_NOREPLACE) < 0)
                r = errno == EEXIST ? 0 : -errno;
        /* A file system that cannot rename so: over a directory, this one works only if that is empty. */
        if ((r == -EINVAL || r == -ENOSYS) && renameat(parent, from, parent, to) == 0)
                r = 1;
        if (r <= 0)
                (void) unlinkat(parent, from, AT_REMOVEDIR);
        return r;
}

static int directory_make_at(int parent, const char *name, mode_t mode)
{
        _cleanup_close_ int readable = -1;
        char new[NAME_MAX + 1];
        struct stat st;
        int r;

        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                return 0;
        if (errno != ENOENT)
                return -errno;
        if ((size_t) snprintf(new, sizeof(new), "%s.new", name) >= sizeof(new))
                return -ENAMETOOLONG;
        r = directory_prepare(parent, new, mode);
        if (r == 0)
                r = directory_publish(parent, new, name);
        if (r <= 0)
                return r;
        /* The parent may be held by O_PATH, which cannot be fsynced. */
        readable = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (readable < 0 || fsync(readable) < 0)
                return -errno;
        return 1;
}

/* A link is passed only when root or we have put it there: the directory it stands in has been checked. */
static int link_check(int parent, const char *name, unsigned walk)
{
        struct stat st;

        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISLNK(st.st_mode))
                return -ENOTDIR;
        return !(walk & DIRECTORY_TRUSTED) || owner_trusted(&st) ? 0 : -ELOOP;
}

static int directory_step(int *fd, const char *name, mode_t mode, unsigned walk)
{
        _cleanup_close_ int next = -1;
        int r;

        next = openat(*fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0 && errno == ENOENT && (walk & DIRECTORY_MAKE)) {
                r = directory_make_at(*fd, name, mode);
                if (r < 0)
                        return r;
                next = openat(*fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        if (next < 0 && (errno == ENOTDIR || errno == ELOOP)) {
                r = link_check(*fd, name, walk);
                if (r < 0)
                        return r;
                next = openat(*fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        }
        if (next < 0)
                return -errno;
        if (walk & DIRECTORY_TRUSTED) {
                r = directory_check(next);
                if (r < 0)
                        return r;
        }
        fd_close(*fd);
        *fd = fd_take(&next);
        return 0;
}

int directory_open_at(int *ret_fd, int parent, const char *name, mode_t mode, unsigned walk)
{
        _cleanup_close_ int fd = -1;
        int made = 0, r;

        if (walk & DIRECTORY_MAKE) {
                made = directory_make_at(parent, name, mode);
                if (made < 0)
                        return made;
        }
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
                struct stat st;

                /* The kernel says "not a directory" of a link here, which would hide what is wrong. */
                r = -errno;
                if (r == -ENOTDIR && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISLNK(st.st_mode))
                        r = -ELOOP;
                return r;
        }
        if (walk & DIRECTORY_TRUSTED) {
                r = directory_check(fd);
                if (r < 0)
                        return r;
        }
        *ret_fd = fd_take(&fd);
        return made;
}

/* Cuts the next name off *@path; "" when there is none left. */
static int name_next(const char **path, char *to, size_t size)
{
        size_t len;

        *path += strspn(*path, "/");
        len = strcspn(*path, "/");
        if (len >= size)
                return -ENAMETOOLONG;
        memcpy(to, *path, len);
        to[len] = 0;
        *path += len;
        return text_equal(to, ".") || text_equal(to, "..") ? -EINVAL : 0;
}

int directory_open(int *ret_fd, const char *path, mode_t mode, unsigned walk)
{
        _cleanup_close_ int fd = -1, opened = -1;
        char name[NAME_MAX + 1];
        int r;

        if (path[0] != '/')
                return -EINVAL;
        fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        for (;;) {
                r = name_next(&path, name, sizeof(name));
                if (r < 0)
                        return r;
                if (!name[0])
                        break;
                /* The last one is what we are asked for: a link there would be somebody's choice of another place. */
                if ((walk & DIRECTORY_TRUSTED) && !path[strspn(path, "/")]) {
                        r = directory_open_at(&opened, fd, name, mode, walk);
                        if (r < 0)
                                return r;
                        *ret_fd = fd_take(&opened);
                        return 0;
                }
                r = directory_step(&fd, name, mode, walk);
                if (r < 0)
                        return r;
        }
        opened = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (opened < 0)
                return -errno;
        *ret_fd = fd_take(&opened);
        return 0;
}
