/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See maildir.h. Not a reader of mail: new/ and cur/ are never scanned. Surprising: a name in new/ is claimed without replacing
 * what is there, because the owner may put anything into new/, and nothing of it may be lost or written through. */
#include <acl/libacl.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/acl.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/text.h"
#include "core/directory.h"
#include "core/maildir.h"

#define FOLDER_MARK "maildirfolder"

enum { NAME_SIZE = 56, NAME_TRIES = 16, SYNC_PARTS = 4, REMOVE_TRIES = 4 };

/* Counted: a job of the pool may still work in it when the fiber that asked is gone. */
struct Maildir {
        unsigned n_ref;
        uid_t owner;
        bool shared; /* the owner is somebody else and gets ACLs */
        int root, tmp, new, cur;
        int failed; /* an fsync of tmp/ or new/ failed: what is on disk is not known any more */
};

static Maildir *maildir_ref(Maildir *maildir)
{
        __atomic_add_fetch(&maildir->n_ref, 1, __ATOMIC_RELAXED);
        return maildir;
}

Maildir *maildir_free(Maildir *maildir)
{
        if (!maildir || __atomic_sub_fetch(&maildir->n_ref, 1, __ATOMIC_ACQ_REL) > 0)
                return NULL;
        fd_close(maildir->root);
        fd_close(maildir->tmp);
        fd_close(maildir->new);
        fd_close(maildir->cur);
        free(maildir);
        return NULL;
}

/* --- access control lists --- */

static void acl_releasep(acl_t *acl)
{
        if (*acl)
                acl_free(*acl);
}

/* Sets what is not so already: a Maildir is opened for each fetch, and most find all in order. */
static int acl_apply(int fd, acl_type_t type, const char *text)
{
        _cleanup_(acl_releasep) acl_t wanted = acl_from_text(text), found = NULL;
        char path[32];

        if (!wanted)
                return -errno;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* a default ACL has no call by fd */
        found = acl_get_file(path, type);
        if (found && acl_cmp(wanted, found) == 0)
                return 0;
        return acl_set_file(path, type, wanted) < 0 ? -errno : 0;
}

/* What the owner may do in a folder; in tmp/ nothing, also not know it. */
static int folder_access(int fd, uid_t owner, const char *permissions)
{
        _cleanup_free_ char *text = NULL;

        if (!permissions)
                return acl_apply(fd, ACL_TYPE_ACCESS, "u::rwx,g::---,o::---");
        if (text_format(&text, "u::rwx,u:%ju:%s,g::---,m::%s,o::---", (uintmax_t) owner,
                        permissions, permissions) < 0)
                return -ENOMEM;
        return acl_apply(fd, ACL_TYPE_ACCESS, text);
}

/* What files get that are made in a folder. In tmp/ they are ours and the owner's, and keep that when they are renamed into new/;
 * what the owner makes in new/ or cur/ stays within our reach, so that we can remove it. */
static int folder_inherit(int fd, uid_t owner, bool tmp)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = tmp ? text_format(&text, "u::rw-,u:%ju:rw-,g::---,m::rw-,o::---", (uintmax_t) owner)
                : text_format(&text, "u::rwx,u:%ju:rwx,u:%ju:rwx,g::---,m::rwx,o::---",
                              (uintmax_t) owner, (uintmax_t) geteuid());
        return r < 0 ? r : acl_apply(fd, ACL_TYPE_DEFAULT, text);
}

/* tmp/ first of all: a file made there without what it should inherit would be out of the owner's reach for ever. */
static int maildir_share(Maildir *maildir)
{
        const int mail[] = { maildir->new, maildir->cur };
        int r;

        r = folder_access(maildir->tmp, maildir->owner, NULL);
        if (r == 0)
                r = folder_inherit(maildir->tmp, maildir->owner, true);
        for (size_t i = 0; i < ELEMENTS(mail) && r == 0; i++) {
                r = folder_access(mail[i], maildir->owner, "rwx");
                if (r == 0)
                        r = folder_inherit(mail[i], maildir->owner, false);
        }
        return r < 0 ? r : folder_access(maildir->root, maildir->owner, "r-x");
}

/* --- opening --- */

static int folder_check(int fd)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        return st.st_uid == geteuid() ? 0 : -EPERM;
}

static int folder_open(int *ret_fd, int root, const char *name)
{
        _cleanup_close_ int fd = -1;
        int r;

        r = directory_open_at(&fd, root, name, 0700, DIRECTORY_MAKE);
        if (r < 0)
                return r;
        r = folder_check(fd);
        if (r < 0)
                return r;
        *ret_fd = fd_take(&fd);
        return 0;
}

int maildir_open(Maildir **ret, const char *location, uid_t owner)
{
        _cleanup_(maildir_freep) Maildir *maildir = calloc(1, sizeof(*maildir));
        int r;

        if (!maildir)
                return -ENOMEM;
        *maildir = (Maildir){ .n_ref = 1,
                              .owner = owner,
                              .shared = owner != geteuid(),
                              .root = -1,
                              .tmp = -1,
                              .new = -1,
                              .cur = -1 };
        r = directory_open(&maildir->root, location, maildir->shared ? 0711 : 0700,
                           DIRECTORY_MAKE | (maildir->shared ? DIRECTORY_TRUSTED : 0));
        if (r == 0)
                r = folder_check(maildir->root);
        if (r == 0)
                r = folder_open(&maildir->tmp, maildir->root, "tmp");
        if (r == 0)
                r = folder_open(&maildir->new, maildir->root, "new");
        if (r == 0)
                r = folder_open(&maildir->cur, maildir->root, "cur");
        if (r == 0 && maildir->shared)
                r = maildir_share(maildir);
        if (r < 0)
                return r;
        *ret = TAKE(maildir);
        return 0;
}

int maildir_open_folder(Maildir **ret, const char *location, const char *name, uid_t owner)
{
        _cleanup_(maildir_freep) Maildir *folder = NULL;
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int mark = -1;
        int r;

        if (!*name || *name == '.' || strchr(name, '/') || strlen(name) > LIMIT_FOLDER_LOCAL)
                return -EINVAL;
        r = text_format(&path, "%s/.%s", location, name);
        if (r == 0)
                r = maildir_open(&folder, path, owner);
        if (r < 0)
                return r;
        /* Maildir++: the file that tells a folder from a Maildir. */
        mark = openat(folder->root, FOLDER_MARK, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (mark < 0)
                return -errno;
        *ret = TAKE(folder);
        return 0;
}

/* --- names --- */

static void name_in_tmp(char to[NAME_SIZE], uint64_t row)
{
        snprintf(to, NAME_SIZE, "%" PRIu64 ".waypost", row);
}

/* Flags in the order that the letters have. */
static void name_append_flags(char to[NAME_SIZE], unsigned flags)
{
        size_t len = strlen(to);

        if (flags)
                snprintf(to + len, NAME_SIZE - len, ":2,%s%s%s%s", flags & MAILDIR_DRAFT ? "D" : "",
                         flags & MAILDIR_FLAGGED ? "F" : "", flags & MAILDIR_REPLIED ? "R" : "",
                         flags & MAILDIR_SEEN ? "S" : "");
}

static void name_in_new(char to[NAME_SIZE], uint64_t row, unsigned try, unsigned flags)
{
        if (try == 1)
                snprintf(to, NAME_SIZE, "%012" PRIu64 ".W.waypost", row);
        else
                snprintf(to, NAME_SIZE, "%012" PRIu64 ".W%u.waypost", row, try);
        name_append_flags(to, flags);
}

/* Returns 0 when @name is what name_in_tmp() makes of @ret_row. */
static int row_of_name(const char *name, uint64_t *ret_row)
{
        char again[NAME_SIZE];
        uint64_t row;
        size_t n;

        if (text_scan_u64(name, strlen(name), UINT64_MAX, &row, &n) < 0)
                return -EINVAL;
        name_in_tmp(again, row);
        if (!text_equal(name, again))
                return -EINVAL;
        *ret_row = row;
        return 0;
}

/* --- tmp/ --- */

int maildir_create(Maildir *maildir, uint64_t row)
{
        const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
        mode_t mode = maildir->shared ? 0660 : 0600; /* 0600 would make the mask empty */
        char name[NAME_SIZE];
        int fd, r;

        name_in_tmp(name, row);
        fd = openat(maildir->tmp, name, flags, mode);
        if (fd < 0 && errno == EEXIST) {
                r = maildir_discard(maildir, row);
                if (r < 0)
                        return r;
                fd = openat(maildir->tmp, name, flags, mode);
        }
        return fd < 0 ? -errno : fd;
}

int maildir_discard(Maildir *maildir, uint64_t row)
{
        char name[NAME_SIZE];

        name_in_tmp(name, row);
        return unlinkat(maildir->tmp, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static DIR *folder_read(int fd)
{
        /* An open description of its own: the position in the directory is not shared. */
        int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = own < 0 ? NULL : fdopendir(own);

        if (!directory)
                fd_close(own);
        return directory;
}

static void folder_read_endp(DIR **directory)
{
        if (*directory)
                closedir(*directory);
}

static int compare_rows(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return x < y ? -1 : x > y;
}

int maildir_clean(Maildir *maildir, const uint64_t *staged, size_t n_staged)
{
        _cleanup_(folder_read_endp) DIR *directory = folder_read(maildir->tmp);
        struct dirent *entry;
        uint64_t row;

        if (!directory)
                return -errno;
        while (errno = 0, (entry = readdir(directory))) {
                if (row_of_name(entry->d_name, &row) < 0 ||
                    (n_staged > 0 && bsearch(&row, staged, n_staged, sizeof(row), compare_rows)))
                        continue;
                if (unlinkat(maildir->tmp, entry->d_name, 0) < 0 && errno != ENOENT)
                        return -errno;
        }
        return -errno;
}

/* --- jobs --- */

/* Owns its descriptors and rows; whoever waits for it may go. */
typedef struct MaildirJob {
        Job job;
        Maildir *maildir, *folder; /* from, to */
        int *fds;
        size_t n_fds;
        uint64_t *rows;
        uint8_t *flags; /* NULL: none */
        size_t n_rows;
        bool sync_tmp;
} MaildirJob;

static void maildir_job_free(Job *base)
{
        MaildirJob *job = (MaildirJob *) base;

        for (size_t i = 0; i < job->n_fds; i++)
                fd_close(job->fds[i]);
        free(job->fds);
        free(job->rows);
        free(job->flags);
        maildir_free(job->folder);
        maildir_free(job->maildir);
        free(job);
}

static void maildir_job_unrefp(MaildirJob **job)
{
        job_unref((Job *) *job);
}

static MaildirJob *maildir_job_new(Maildir *maildir, int (*run)(Job *))
{
        MaildirJob *job = calloc(1, sizeof(*job));

        if (!job)
                return NULL;
        job_init(&job->job, run, maildir_job_free);
        job->maildir = maildir_ref(maildir);
        return job;
}

static int job_wait(Pool *pool, MaildirJob *job)
{
        int r = pool_run(pool, &job->job);

        return r < 0 ? r : job->job.result;
}

/* The kernel tells of a lost write once. From then on nobody may be told that all is well. */
static int folder_sync(Maildir *maildir, int fd)
{
        if (__atomic_load_n(&maildir->failed, __ATOMIC_ACQUIRE))
                return -EIO;
        if (fsync(fd) == 0)
                return 0;
        __atomic_store_n(&maildir->failed, 1, __ATOMIC_RELEASE);
        return -errno;
}

/* --- fsync of files --- */

/* All of them, also behind one that failed: their descriptors have to go anyhow. */
static int job_sync(Job *base)
{
        MaildirJob *job = (MaildirJob *) base;
        int r = 0;

        for (size_t i = 0; i < job->n_fds; i++) {
                if (r == 0 && fsync(job->fds[i]) < 0)
                        r = -errno;
                if (close(job->fds[i]) < 0 && r == 0)
                        r = -errno; /* a network file system tells it here */
                job->fds[i] = -1;
        }
        if (r == 0 && job->sync_tmp)
                r = folder_sync(job->maildir, job->maildir->tmp);
        return r;
}

typedef struct SyncPart {
        Pool *pool;
        MaildirJob *job;
        Fiber *fiber;
} SyncPart;

static int sync_part_fiber(void *arg)
{
        SyncPart *part = arg;

        return job_wait(part->pool, part->job);
}

/* Waits for all, also behind one that failed: nothing works on the files any more when the caller throws them away. */
static int sync_parts_run(SyncPart *parts, size_t n_parts)
{
        int r = 0, wait = 0, result = 0;

        for (size_t i = 0; i < n_parts && r == 0; i++)
                r = fiber_start(&parts[i].fiber, "sync", sync_part_fiber, &parts[i]);
        for (size_t i = 0; i < n_parts && wait == 0 && parts[i].fiber; i++) {
                wait = fiber_join(&parts[i].fiber, &result);
                if (r == 0)
                        r = wait < 0 ? wait : result;
        }
        for (size_t i = 0; i < n_parts; i++)
                parts[i].fiber = fiber_cancel(parts[i].fiber);
        return r;
}

/* Moves every @n_parts-th descriptor, from @first on, into the job. */
static int sync_part_fill(MaildirJob *job, int *fds_take, size_t n, size_t first, size_t n_parts)
{
        job->fds = calloc(n / n_parts + 1, sizeof(*job->fds));
        if (!job->fds)
                return -ENOMEM;
        for (size_t i = first; i < n; i += n_parts)
                job->fds[job->n_fds++] = fd_take(&fds_take[i]);
        return 0;
}

/* Several at once: a journal commits them together. tmp/ follows when all of them are on disk. */
static int sync_parallel(Maildir *maildir, Pool *pool, int *fds_take, size_t n)
{
        _cleanup_(maildir_job_unrefp) MaildirJob *last = maildir_job_new(maildir, job_sync);
        SyncPart parts[SYNC_PARTS] = {};
        size_t n_parts = MIN(n, (size_t) SYNC_PARTS);
        int r = last ? 0 : -ENOMEM;

        for (size_t i = 0; i < n_parts && r == 0; i++) {
                parts[i].pool = pool;
                parts[i].job = maildir_job_new(maildir, job_sync);
                r = parts[i].job ? sync_part_fill(parts[i].job, fds_take, n, i, n_parts) : -ENOMEM;
        }
        if (r == 0)
                r = sync_parts_run(parts, n_parts);
        for (size_t i = 0; i < n_parts; i++)
                maildir_job_unrefp(&parts[i].job);
        if (r < 0)
                return r;
        last->sync_tmp = true;
        return job_wait(pool, last);
}

static int sync_single(Maildir *maildir, Pool *pool, int *fds_take)
{
        _cleanup_(maildir_job_unrefp) MaildirJob *job = maildir_job_new(maildir, job_sync);
        int r;

        if (!job)
                return -ENOMEM;
        r = sync_part_fill(job, fds_take, 1, 0, 1);
        if (r < 0)
                return r;
        job->sync_tmp = true;
        return job_wait(pool, job);
}

int maildir_sync_files(Maildir *maildir, Pool *pool, int *fds_take, size_t n)
{
        int r = 0;

        if (n == 1)
                r = sync_single(maildir, pool, fds_take);
        else if (n > 1)
                r = sync_parallel(maildir, pool, fds_take, n);
        for (size_t i = 0; i < n; i++)
                fds_take[i] = fd_close(fds_take[i]);
        return r;
}

/* --- delivery --- */

/* Returns 1 when @a in tmp/ and @b in @place are one file: a link that a crash left half-way. */
static int names_same(Maildir *maildir, int place, const char *a, const char *b)
{
        struct stat one, two;

        if (fstatat(maildir->tmp, a, &one, AT_SYMLINK_NOFOLLOW) < 0 ||
            fstatat(place, b, &two, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        return one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

/* Renames without replacing. Where the file system cannot, a link and an unlink do it in an order that loses nothing. */
static int name_move(Maildir *maildir, int place, const char *from, const char *to)
{
        if (renameat2(maildir->tmp, from, place, to, RENAME_NOREPLACE) == 0)
                return 0;
        if (errno != EINVAL && errno != ENOSYS)
                return -errno;
        if (linkat(maildir->tmp, from, place, to, 0) < 0)
                return -errno;
        return unlinkat(maildir->tmp, from, 0) < 0 ? -errno : 0;
}

static int row_deliver(Maildir *maildir, Maildir *folder, uint64_t row, unsigned flags)
{
        int place = flags ? folder->cur : folder->new;
        char from[NAME_SIZE], to[NAME_SIZE];
        struct stat st;
        int r = -EEXIST;

        name_in_tmp(from, row);
        for (unsigned try = 1; try <= NAME_TRIES && r == -EEXIST; try++) {
                name_in_new(to, row, try, flags);
                r = name_move(maildir, place, from, to);
                if (r == -EEXIST && names_same(maildir, place, from, to) > 0)
                        return unlinkat(maildir->tmp, from, 0) < 0 ? -errno : 0;
        }
        /* Gone from tmp/ is delivered; gone together with new/ is not. */
        if (r == -ENOENT && fstatat(maildir->tmp, from, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
            errno == ENOENT)
                return 0;
        return r;
}

/* new/ is fsynced whatever was found: a rename of before the crash may not be on disk yet. */
static int job_deliver(Job *base)
{
        MaildirJob *job = (MaildirJob *) base;
        Maildir *folder = job->folder;
        unsigned with_flags = 0, flags;
        int r = 0, s;

        for (size_t i = 0; i < job->n_rows && r == 0; i++) {
                flags = job->flags ? job->flags[i] : 0;
                with_flags |= flags;
                r = row_deliver(job->maildir, folder, job->rows[i], flags);
        }
        s = folder_sync(folder, folder->new);
        if (s == 0 && with_flags)
                s = folder_sync(folder, folder->cur);
        return r < 0 ? r : s;
}

int maildir_deliver(Maildir *maildir, Pool *pool, const uint64_t *rows, size_t n)
{
        return maildir_deliver_to(maildir, NULL, pool, rows, NULL, n);
}

int maildir_deliver_to(Maildir *maildir, Maildir *folder, Pool *pool, const uint64_t *rows,
                       const uint8_t *flags, size_t n)
{
        _cleanup_(maildir_job_unrefp) MaildirJob *job = NULL;

        if (n == 0)
                return 0;
        job = maildir_job_new(maildir, job_deliver);
        if (!job)
                return -ENOMEM;
        job->rows = calloc(n, sizeof(*rows));
        if (!job->rows)
                return -ENOMEM;
        memcpy(job->rows, rows, n * sizeof(*rows));
        job->n_rows = n;
        job->folder = maildir_ref(folder ? folder : maildir);
        if (flags) {
                job->flags = malloc(n);
                if (!job->flags)
                        return -ENOMEM;
                memcpy(job->flags, flags, n);
        }
        return job_wait(pool, job);
}

/* --- removal --- */

/* One level: what the owner has nested deeper is not mail and stays. */
static int folder_empty(int fd)
{
        _cleanup_(folder_read_endp) DIR *directory = folder_read(fd);
        struct dirent *entry;

        if (!directory)
                return -errno;
        while (errno = 0, (entry = readdir(directory))) {
                if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
                        continue;
                if (unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
                        continue;
                if (errno != EISDIR && errno != EPERM)
                        return -errno;
                if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT &&
                    errno != ENOTEMPTY)
                        return -errno;
        }
        return -errno;
}

static int folder_remove(int root, const char *name)
{
        _cleanup_close_ int fd = -1;
        int r;

        r = directory_open_at(&fd, root, name, 0, 0);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = folder_check(fd);
        if (r < 0)
                return r;
        if (fchmod(fd, 0700) < 0) /* empties the ACL's mask: nothing new comes in */
                return -errno;
        for (int i = 0; i < REMOVE_TRIES; i++) {
                r = folder_empty(fd);
                if (r < 0)
                        return r;
                if (unlinkat(root, name, AT_REMOVEDIR) == 0)
                        return 0;
                if (errno != ENOTEMPTY)
                        return errno == ENOENT ? 0 : -errno;
        }
        return -ENOTEMPTY;
}

/* The directory that @location stands in, and its name there. */
static int parent_open(int *ret_fd, const char *location, const char **ret_name)
{
        const char *slash = strrchr(location, '/');
        _cleanup_free_ char *path = NULL;
        int r;

        if (location[0] != '/' || !slash[1])
                return -EINVAL;
        r = text_set_n(&path, location, MAX((size_t) (slash - location), (size_t) 1));
        if (r < 0)
                return r;
        *ret_name = slash + 1;
        return directory_open(ret_fd, path, 0, 0);
}

static int root_remove(int parent, const char *name, bool with_folders);

/* Maildir++ is flat: folders are directories in the root whose names begin with a dot. What is none stays, and the root with it. */
static int folders_remove(int root)
{
        _cleanup_(folder_read_endp) DIR *directory = folder_read(root);
        struct dirent *entry;
        int r;

        if (!directory)
                return -errno;
        while (errno = 0, (entry = readdir(directory))) {
                const char *name = entry->d_name;

                if (*name != '.' || text_equal(name, ".") || text_equal(name, ".."))
                        continue;
                r = root_remove(root, name, false);
                if (r < 0 && r != -ENOTDIR && r != -ENOTEMPTY && r != -ELOOP)
                        return r;
        }
        return -errno;
}

static int root_remove(int parent, const char *name, bool with_folders)
{
        static const char *const folders[] = { "tmp", "new", "cur" };
        _cleanup_close_ int root = -1;
        int r;

        r = directory_open_at(&root, parent, name, 0, 0);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = folder_check(root);
        for (size_t i = 0; i < ELEMENTS(folders) && r == 0; i++)
                r = folder_remove(root, folders[i]);
        if (r == 0 && with_folders)
                r = folders_remove(root);
        if (r < 0)
                return r;
        if (unlinkat(root, FOLDER_MARK, 0) < 0 && errno != ENOENT)
                return -errno;
        if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return -errno;
        return fsync(parent) < 0 ? -errno : 0;
}

int maildir_remove(const char *location)
{
        _cleanup_close_ int parent = -1;
        const char *name;
        int r;

        r = parent_open(&parent, location, &name);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        return root_remove(parent, name, true);
}
