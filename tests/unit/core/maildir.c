/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Delivery into a Maildir: what the owner and others may do, looked at as them; links in the way; a full disk; what crashes
 * leave; fibers that go while the pool works. Runs as root: it takes on other uids and mounts in a namespace of its own. */
#include "tests/unit/base/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/text.h"
#include "core/maildir.h"

enum { OWNER = 65531, STRANGER = 65532, SERVICE = 65530 };

typedef struct Fixture {
        Loop *loop;
        Pool *pool;
        Maildir *maildir;
        char base[64], location[96];
        /* for the fiber under way */
        int *fds;
        size_t n_fds;
        const uint64_t *rows;
        size_t n_rows;
        Maildir *folder;
        const uint8_t *flags;
        int result;
} Fixture;

/* --- files --- */

/* Paths below the Maildir, a few at a time. */
static const char *at(Fixture *f, const char *name)
{
        static char paths[8][160];
        static unsigned next;
        char *path = paths[next++ % ELEMENTS(paths)];

        snprintf(path, sizeof(paths[0]), "%s/%s", f->location, name);
        return path;
}

static const char *beside(Fixture *f, const char *name)
{
        static char paths[8][160];
        static unsigned next;
        char *path = paths[next++ % ELEMENTS(paths)];

        snprintf(path, sizeof(paths[0]), "%s/%s", f->base, name);
        return path;
}

static void file_put(const char *path, const char *text)
{
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void file_is(const char *path, const char *text)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        char found[256] = "";

        assert_true(fd >= 0);
        assert_true(read(fd, found, sizeof(found) - 1) >= 0);
        assert_string_equal(found, text);
}

static bool exists(const char *path)
{
        struct stat st;

        return lstat(path, &st) == 0;
}

static unsigned count(const char *path)
{
        DIR *directory = opendir(path);
        struct dirent *entry;
        unsigned n = 0;

        assert_non_null(directory);
        while ((entry = readdir(directory)))
                n += entry->d_name[0] != '.';
        closedir(directory);
        return n;
}

static void remove_tree(const char *path)
{
        DIR *directory = opendir(path);
        struct dirent *entry;

        while (directory && (entry = readdir(directory))) {
                char below[512];

                if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
                        continue;
                snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
                if (entry->d_type == DT_DIR)
                        remove_tree(below);
                else
                        unlink(below);
        }
        if (directory)
                closedir(directory);
        assert_int_equal(rmdir(path), 0);
}

/* --- fixtures --- */

static int setup(void **state)
{
        Fixture *f = calloc(1, sizeof(*f));

        if (geteuid() != 0)
                fail_msg("to be run as root");
        umask(077);
        snprintf(f->base, sizeof(f->base), "/tmp/waypost-maildir-XXXXXX");
        assert_non_null(mkdtemp(f->base));
        assert_int_equal(chmod(f->base, 0711), 0);
        snprintf(f->location, sizeof(f->location), "%s/mail/%d/id", f->base, OWNER);
        assert_int_equal(loop_new(&f->loop), 0);
        assert_int_equal(pool_new(&f->pool, 3, NULL), 0);
        *state = f;
        return 0;
}

static int setup_open(void **state)
{
        Fixture *f;

        setup(state);
        f = *state;
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), 0);
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;

        f->maildir = maildir_free(f->maildir);
        f->pool = pool_free(f->pool);
        loop_free(f->loop);
        remove_tree(f->base);
        free(f);
        return 0;
}

/* --- calls on a fiber --- */

static int sync_fiber(void *arg)
{
        Fixture *f = arg;

        f->result = maildir_sync_files(f->maildir, f->pool, f->fds, f->n_fds);
        return 0;
}

static int deliver_fiber(void *arg)
{
        Fixture *f = arg;

        f->result = maildir_deliver_to(f->maildir, f->folder, f->pool, f->rows, f->flags,
                                       f->n_rows);
        return 0;
}

static int on_fiber(Fixture *f, FiberFunc func)
{
        _cleanup_(fiber_cancelp) Fiber *fiber = NULL;

        f->result = 1;
        assert_int_equal(fiber_start(&fiber, "test", func, f), 0);
        check_run(f->loop);
        return f->result;
}

static int sync_files(Fixture *f, int *fds, size_t n)
{
        f->fds = fds;
        f->n_fds = n;
        return on_fiber(f, sync_fiber);
}

static int deliver(Fixture *f, const uint64_t *rows, size_t n)
{
        f->rows = rows;
        f->n_rows = n;
        return on_fiber(f, deliver_fiber);
}

static int write_row(Fixture *f, uint64_t row, const char *text)
{
        int fd = maildir_create(f->maildir, row);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        return fd;
}

static void deliver_text(Fixture *f, uint64_t row, const char *text)
{
        int fd = write_row(f, row, text);

        assert_int_equal(sync_files(f, &fd, 1), 0);
        assert_int_equal(deliver(f, &row, 1), 0);
}

/* --- as somebody else --- */

/* Runs @what(@f) in a child that is @uid; what it returns (0: as it should be) is the line that failed. */
static void as_uid(Fixture *f, uid_t uid, int (*what)(Fixture *f))
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
                if (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0)
                        _exit(255);
                umask(022);
                _exit(what(f) ? 1 : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

#define CHECK(a)                                                                          \
        do {                                                                              \
                if (!(a)) {                                                               \
                        fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #a, errno); \
                        return __LINE__;                                                  \
                }                                                                         \
        } while (0)

#define FAILS_WITH(a, error) CHECK((a) < 0 && errno == (error))

/* --- tests --- */

static void order_and_names(void **state)
{
        Fixture *f = *state;
        uint64_t rows[] = { 7, 123456789012345 };
        int fds[] = { write_row(f, rows[0], "seven"), write_row(f, rows[1], "big") };

        assert_true(exists(at(f, "tmp/7.waypost")) && exists(at(f, "tmp/123456789012345.waypost")));
        assert_int_equal(count(at(f, "new")), 0);
        assert_int_equal(sync_files(f, fds, 2), 0);
        assert_true(fds[0] == -1 && fds[1] == -1);
        assert_int_equal(count(at(f, "new")), 0);
        assert_int_equal(deliver(f, rows, 2), 0);
        assert_int_equal(count(at(f, "tmp")), 0);
        file_is(at(f, "new/000000000007.W.waypost"), "seven");
        file_is(at(f, "new/123456789012345.W.waypost"), "big");
        assert_int_equal(deliver(f, NULL, 0), 0);
        assert_int_equal(sync_files(f, NULL, 0), 0);
}

static int owner_can(Fixture *f)
{
        struct stat st;
        char text[16] = "";
        int fd;

        CHECK(count(f->location) == 3);
        CHECK(count(at(f, "new")) == 1);
        CHECK(lstat(at(f, "new/000000000001.W.waypost"), &st) == 0);
        CHECK((st.st_mode & 07777) == 0660 && st.st_uid != OWNER);
        fd = open(at(f, "new/000000000001.W.waypost"), O_RDWR);
        CHECK(fd >= 0 && read(fd, text, 5) == 5 && memcmp(text, "hello", 5) == 0);
        CHECK(write(fd, "!", 1) == 1);
        CHECK(rename(at(f, "new/000000000001.W.waypost"), at(f, "cur/1:2,S")) == 0);
        CHECK((fd = open(at(f, "cur/1:2,S"), O_RDWR)) >= 0);
        CHECK((fd = open(at(f, "cur/own"), O_RDWR | O_CREAT | O_EXCL, 0600)) >= 0);
        CHECK(unlink(at(f, "cur/own")) == 0);
        CHECK((fd = open(at(f, "new/kept"), O_RDWR | O_CREAT | O_EXCL, 0640)) >= 0);
        return 0;
}

static int owner_cannot(Fixture *f)
{
        FAILS_WITH(open(at(f, "tmp"), O_RDONLY | O_DIRECTORY), EACCES);
        FAILS_WITH(chdir(at(f, "tmp")), EACCES);
        FAILS_WITH(open(at(f, "tmp/2.waypost"), O_RDWR), EACCES);
        FAILS_WITH(open(at(f, "tmp/x"), O_RDWR | O_CREAT, 0600), EACCES);
        FAILS_WITH(mkdir(at(f, "folder"), 0700), EACCES);
        FAILS_WITH(rename(at(f, "new"), at(f, "old")), EACCES);
        FAILS_WITH(rmdir(at(f, "cur")), EACCES);
        FAILS_WITH(chmod(at(f, "new"), 0777), EPERM);
        FAILS_WITH(rename(f->location, at(f, "../other")), EACCES);
        return 0;
}

static int stranger_cannot(Fixture *f)
{
        FAILS_WITH(open(f->location, O_RDONLY | O_DIRECTORY), EACCES);
        FAILS_WITH(open(at(f, "new"), O_RDONLY | O_DIRECTORY), EACCES);
        FAILS_WITH(open(at(f, "cur/1:2,S"), O_RDONLY), EACCES);
        FAILS_WITH(open(beside(f, "mail"), O_RDONLY | O_DIRECTORY), EACCES);
        return 0;
}

static void who_may_what(void **state)
{
        Fixture *f = *state;
        struct stat st;

        deliver_text(f, 1, "hello");
        fd_close(write_row(f, 2, "under way"));
        as_uid(f, OWNER, owner_can);
        as_uid(f, OWNER, owner_cannot);
        as_uid(f, STRANGER, stranger_cannot);
        file_is(at(f, "cur/1:2,S"), "hello!");
        assert_int_equal(stat(beside(f, "mail"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0711);
        assert_int_equal(stat(at(f, "tmp"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        /* What the owner made is still removed with the rest. */
        f->maildir = maildir_free(f->maildir);
        assert_int_equal(maildir_remove(f->location), 0);
        assert_false(exists(f->location));
}

/* The service is no root: it sets ACLs on what is its own, and what the owner makes stays within its reach. */
static int service_delivers(Fixture *f)
{
        Loop *loop = NULL;
        int fd;

        f->pool = NULL; /* the threads are the parent's */
        CHECK(loop_new(&loop) == 0 && pool_new(&f->pool, 1, NULL) == 0);
        f->loop = loop;
        CHECK(maildir_open(&f->maildir, f->location, OWNER) == 0);
        deliver_text(f, 1, "hello");
        CHECK((fd = maildir_create(f->maildir, 2)) >= 0);
        f->maildir = maildir_free(f->maildir);
        CHECK(maildir_open(&f->maildir, f->location, OWNER) == 0);
        pool_free(f->pool);
        return 0;
}

static int service_removes(Fixture *f)
{
        char text[8];
        int fd = open(at(f, "new/kept"), O_RDONLY);

        CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 0);
        CHECK(mkdir(f->location, 0700) < 0 && errno == EEXIST);
        CHECK(maildir_remove(f->location) == 0);
        return 0;
}

static void service_without_privileges(void **state)
{
        Fixture *f = *state;

        /* A loop is its thread's: the child makes its own, so ours goes first. */
        f->pool = pool_free(f->pool);
        f->loop = loop_free(f->loop);
        assert_int_equal(chown(f->base, SERVICE, SERVICE), 0);
        as_uid(f, SERVICE, service_delivers);
        as_uid(f, OWNER, owner_can);
        as_uid(f, OWNER, owner_cannot);
        as_uid(f, STRANGER, stranger_cannot);
        as_uid(f, SERVICE, service_removes);
        assert_false(exists(f->location));
        assert_int_equal(loop_new(&f->loop), 0);
}

/* A crash between mkdir and the ACL, or an administrator's chmod: the next opening mends it. */
static void rights_are_mended(void **state)
{
        Fixture *f = *state;

        f->maildir = maildir_free(f->maildir);
        assert_int_equal(chmod(at(f, "new"), 0700), 0);
        assert_int_equal(chmod(at(f, "tmp"), 0755), 0);
        assert_int_equal(chmod(f->location, 0700), 0);
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), 0);
        deliver_text(f, 1, "hello");
        fd_close(write_row(f, 2, "under way"));
        as_uid(f, OWNER, owner_can);
        as_uid(f, OWNER, owner_cannot);
}

static void our_own(void **state)
{
        Fixture *f = *state;
        struct stat st;

        assert_int_equal(maildir_open(&f->maildir, f->location, geteuid()), 0);
        deliver_text(f, 1, "mine");
        assert_int_equal(stat(at(f, "new/000000000001.W.waypost"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(stat(at(f, "new"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_int_equal(stat(beside(f, "mail"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
}

/* --- links and strangers in the way --- */

static void new_becomes_a_link(void **state)
{
        Fixture *f = *state;
        Maildir *again = NULL;
        uint64_t row = 5;
        int fd = write_row(f, row, "text");

        assert_int_equal(mkdir(beside(f, "evil"), 0777), 0);
        assert_int_equal(rename(at(f, "new"), at(f, "moved")), 0);
        assert_int_equal(symlink(beside(f, "evil"), at(f, "new")), 0);
        assert_int_equal(sync_files(f, &fd, 1), 0);
        assert_int_equal(deliver(f, &row, 1), 0);
        assert_int_equal(count(beside(f, "evil")), 0);
        file_is(at(f, "moved/000000000005.W.waypost"), "text");
        assert_int_equal(maildir_open(&again, f->location, OWNER), -ELOOP);
        assert_null(again);
        file_put(beside(f, "evil/precious"), "x");
        assert_int_equal(maildir_remove(f->location), -ELOOP);
        file_is(beside(f, "evil/precious"), "x");
}

static void tmp_name_is_a_link(void **state)
{
        Fixture *f = *state;

        file_put(beside(f, "precious"), "x");
        assert_int_equal(symlink(beside(f, "precious"), at(f, "tmp/3.waypost")), 0);
        deliver_text(f, 3, "text");
        file_is(beside(f, "precious"), "x");
        file_is(at(f, "new/000000000003.W.waypost"), "text");
}

static void new_name_is_a_link(void **state)
{
        Fixture *f = *state;

        file_put(beside(f, "precious"), "x");
        assert_int_equal(symlink(beside(f, "precious"), at(f, "new/000000000003.W.waypost")), 0);
        deliver_text(f, 3, "text");
        file_is(beside(f, "precious"), "x");
        file_is(at(f, "new/000000000003.W2.waypost"), "text");
        assert_int_equal(count(at(f, "tmp")), 0);
}

static void untrusted_parents(void **state)
{
        Fixture *f = *state;

        assert_int_equal(maildir_open(&f->maildir, "relative/path", OWNER), -EINVAL);
        assert_int_equal(maildir_open(&f->maildir, beside(f, "a/../b"), OWNER), -EINVAL);
        /* A directory of another's on the way. */
        assert_int_equal(mkdir(beside(f, "mail"), 0711), 0);
        assert_int_equal(chown(beside(f, "mail"), STRANGER, STRANGER), 0);
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), -EPERM);
        /* One that everybody writes to. */
        assert_int_equal(chown(beside(f, "mail"), 0, 0), 0);
        assert_int_equal(chmod(beside(f, "mail"), 0733), 0);
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), -EPERM);
        assert_int_equal(count(beside(f, "mail")), 0);
        assert_int_equal(rmdir(beside(f, "mail")), 0);
        /* A link: root's leads on, another's does not. */
        assert_int_equal(mkdir(beside(f, "real"), 0711), 0);
        assert_int_equal(symlink("real", beside(f, "mail")), 0);
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), 0);
        f->maildir = maildir_free(f->maildir);
        assert_int_equal(lchown(beside(f, "mail"), STRANGER, STRANGER), 0);
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), -ELOOP);
        assert_null(f->maildir);
}

static void foreign_folders(void **state)
{
        Fixture *f = *state;

        f->maildir = maildir_free(f->maildir);
        assert_int_equal(chown(at(f, "new"), OWNER, OWNER), 0);
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), -EPERM);
        assert_int_equal(chown(at(f, "new"), 0, 0), 0);
        assert_int_equal(chown(f->location, OWNER, OWNER), 0);
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), -EPERM);
        assert_int_equal(maildir_remove(f->location), -EPERM);
}

/* --- crashes --- */

static void delivered_before(void **state)
{
        Fixture *f = *state;
        uint64_t rows[] = { 1, 2, 3 };
        int fds[] = { write_row(f, 1, "one"), write_row(f, 2, "two"), write_row(f, 3, "three") };

        assert_int_equal(sync_files(f, fds, 3), 0);
        /* One was renamed and even read, one was linked half-way, one not touched. */
        assert_int_equal(rename(at(f, "tmp/1.waypost"), at(f, "cur/read")), 0);
        assert_int_equal(link(at(f, "tmp/2.waypost"), at(f, "new/000000000002.W.waypost")), 0);
        assert_int_equal(deliver(f, rows, 3), 0);
        assert_int_equal(deliver(f, rows, 3), 0);
        assert_int_equal(count(at(f, "tmp")), 0);
        assert_int_equal(count(at(f, "new")), 2);
        file_is(at(f, "new/000000000002.W.waypost"), "two");
        file_is(at(f, "new/000000000003.W.waypost"), "three");
}

/* A restored database gives rows again whose files are still there: neither is lost. */
static void names_that_are_taken(void **state)
{
        Fixture *f = *state;
        uint64_t row = 9;
        int fd;

        for (int i = 0; i < 16; i++)
                deliver_text(f, row, i == 0 ? "first" : "again");
        file_is(at(f, "new/000000000009.W.waypost"), "first");
        file_is(at(f, "new/000000000009.W16.waypost"), "again");
        assert_int_equal(count(at(f, "new")), 16);
        fd = write_row(f, row, "too many");
        assert_int_equal(sync_files(f, &fd, 1), 0);
        assert_int_equal(deliver(f, &row, 1), -EEXIST);
        file_is(at(f, "tmp/9.waypost"), "too many");
}

static void half_link_is_not_overwritten(void **state)
{
        Fixture *f = *state;
        int fd = write_row(f, 4, "delivered");

        assert_int_equal(sync_files(f, &fd, 1), 0);
        assert_int_equal(link(at(f, "tmp/4.waypost"), at(f, "new/000000000004.W.waypost")), 0);
        fd_close(maildir_create(f->maildir, 4));
        file_is(at(f, "new/000000000004.W.waypost"), "delivered");
        file_is(at(f, "tmp/4.waypost"), "");
}

static void leftovers(void **state)
{
        Fixture *f = *state;
        const uint64_t staged[] = { 2, 30, 400 };

        for (uint64_t row = 1; row <= 3; row++)
                fd_close(write_row(f, row, "x"));
        fd_close(write_row(f, 30, "x"));
        fd_close(write_row(f, 31, "x"));
        file_put(at(f, "tmp/1700000000.M1P2.host"), "another deliverer's");
        file_put(at(f, "tmp/03.waypost"), "not our spelling");
        file_put(at(f, "tmp/99999999999999999999999.waypost"), "no row");
        assert_int_equal(maildir_clean(f->maildir, staged, 3), 0);
        assert_false(exists(at(f, "tmp/1.waypost")) || exists(at(f, "tmp/3.waypost")) ||
                     exists(at(f, "tmp/31.waypost")));
        assert_true(exists(at(f, "tmp/2.waypost")) && exists(at(f, "tmp/30.waypost")));
        assert_int_equal(count(at(f, "tmp")), 5);
        assert_int_equal(maildir_clean(f->maildir, NULL, 0), 0);
        assert_int_equal(count(at(f, "tmp")), 3);
        /* What is left is written anew and thrown away. */
        fd_close(write_row(f, 2, "a"));
        fd_close(write_row(f, 2, "b"));
        file_is(at(f, "tmp/2.waypost"), "b");
        assert_int_equal(maildir_discard(f->maildir, 2), 0);
        assert_int_equal(maildir_discard(f->maildir, 2), 0);
        assert_false(exists(at(f, "tmp/2.waypost")));
}

static void gone_with_new(void **state)
{
        Fixture *f = *state;
        uint64_t row = 1;

        fd_close(write_row(f, 1, "x"));
        assert_int_equal(rmdir(at(f, "new")), 0);
        assert_int_equal(deliver(f, &row, 1), -ENOENT);
        assert_true(exists(at(f, "tmp/1.waypost")));
}

/* --- disks --- */

static void mount_on(Fixture *f, const char *type, const char *options)
{
        assert_int_equal(unshare(CLONE_NEWNS), 0);
        assert_int_equal(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL), 0);
        assert_int_equal(mkdir(beside(f, "mail"), 0711), 0);
        assert_int_equal(mount(type, beside(f, "mail"), type, 0, options), 0);
}

static void full_disk(void **state)
{
        Fixture *f = *state;
        static char block[65536];
        uint64_t row = 1;
        ssize_t n;
        int fd, first;

        mount_on(f, "tmpfs", "size=1m,mode=711");
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), 0);
        first = write_row(f, 1, "small");
        fd = maildir_create(f->maildir, 2);
        assert_true(fd >= 0);
        do
                n = write(fd, block, sizeof(block));
        while (n > 0);
        assert_true(n < 0 && errno == ENOSPC);
        fd_close(fd);
        /* The others of the batch are not hurt, and the next fetch has room. */
        assert_int_equal(sync_files(f, &first, 1), 0);
        assert_int_equal(maildir_discard(f->maildir, 2), 0);
        assert_int_equal(deliver(f, &row, 1), 0);
        file_is(at(f, "new/000000000001.W.waypost"), "small");
        deliver_text(f, 2, "second");
        f->maildir = maildir_free(f->maildir);
        assert_int_equal(umount(beside(f, "mail")), 0);
}

static void no_more_files(void **state)
{
        Fixture *f = *state;
        uint64_t row;
        int r = 0;

        mount_on(f, "tmpfs", "nr_inodes=32,mode=711");
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), 0);
        for (row = 1; row < 100 && r >= 0; row++) {
                r = maildir_create(f->maildir, row);
                if (r >= 0)
                        close(r);
        }
        assert_int_equal(r, -ENOSPC);
        f->maildir = maildir_free(f->maildir);
        assert_int_equal(umount(beside(f, "mail")), 0);
}

static void without_acls(void **state)
{
        Fixture *f = *state;

        mount_on(f, "ramfs", NULL);
        assert_int_equal(maildir_open(&f->maildir, f->location, OWNER), -EOPNOTSUPP);
        assert_int_equal(maildir_open(&f->maildir, f->location, geteuid()), 0);
        deliver_text(f, 1, "mine");
        f->maildir = maildir_free(f->maildir);
        assert_int_equal(umount(beside(f, "mail")), 0);
}

/* --- the pool --- */

static void many_files(void **state)
{
        enum { MANY = 203 };
        uint64_t rows[MANY];
        Fixture *f = *state;
        int fds[MANY], old[MANY];

        for (unsigned i = 0; i < MANY; i++) {
                rows[i] = i + 1;
                old[i] = fds[i] = write_row(f, rows[i], "x");
        }
        assert_int_equal(sync_files(f, fds, MANY), 0);
        for (unsigned i = 0; i < MANY; i++)
                assert_true(fds[i] == -1 && fcntl(old[i], F_GETFD) == -1);
        assert_int_equal(deliver(f, rows, MANY), 0);
        assert_int_equal(count(at(f, "new")), MANY);
}

/* A pipe cannot be fsynced: one failure in the middle fails all, and every descriptor goes. */
static void one_fsync_fails(void **state)
{
        Fixture *f = *state;
        int fds[7], old[7], ends[2];

        for (unsigned bad = 0; bad < 7; bad++) {
                for (unsigned i = 0; i < 7; i++)
                        fds[i] = write_row(f, i + 1, "x");
                assert_int_equal(pipe(ends), 0);
                close(fds[bad]);
                assert_int_equal(dup2(ends[1], fds[bad]), fds[bad]);
                close(ends[0]);
                close(ends[1]);
                memcpy(old, fds, sizeof(fds));
                assert_int_equal(sync_files(f, fds, 7), -EINVAL);
                for (unsigned i = 0; i < 7; i++)
                        assert_true(fds[i] == -1 && fcntl(old[i], F_GETFD) == -1);
        }
        assert_int_equal(pipe(ends), 0);
        close(ends[0]);
        assert_int_equal(sync_files(f, &ends[1], 1), -EINVAL);
        assert_int_equal(ends[1], -1);
}

typedef struct Blocker {
        Job job;
        sem_t *open;
} Blocker;

static int blocker_run(Job *job)
{
        while (sem_wait(((Blocker *) job)->open) < 0)
                ;
        return 0;
}

static void blocker_free(Job *job)
{
        free(job);
}

/* All three threads stand still until @open says so once for each. */
static void block_pool(Fixture *f, sem_t *open)
{
        sem_init(open, 0, 0);
        for (int i = 0; i < 3; i++) {
                Blocker *blocker = calloc(1, sizeof(*blocker));

                job_init(&blocker->job, blocker_run, blocker_free);
                blocker->open = open;
                pool_submit(f->pool, &blocker->job);
                job_unref(&blocker->job);
        }
}

static void cancel_and_close(Fixture *f, FiberFunc func)
{
        Fiber *fiber = NULL;
        sem_t open;

        block_pool(f, &open);
        f->result = 1;
        assert_int_equal(fiber_start(&fiber, "test", func, f), 0);
        check_settle(f->loop);
        assert_int_equal(f->result, 1);
        fiber_cancel(fiber);
        assert_int_equal(f->result, -ECANCELED);
        /* The jobs hold what they need. */
        f->maildir = maildir_free(f->maildir);
        for (int i = 0; i < 3; i++)
                sem_post(&open);
        f->pool = pool_free(f->pool);
        sem_destroy(&open);
}

static void cancelled_sync(void **state)
{
        Fixture *f = *state;
        int fds[9], old[9];

        for (unsigned i = 0; i < 9; i++)
                old[i] = fds[i] = write_row(f, i + 1, "x");
        f->fds = fds;
        f->n_fds = 9;
        cancel_and_close(f, sync_fiber);
        for (unsigned i = 0; i < 9; i++)
                assert_true(fds[i] == -1 && fcntl(old[i], F_GETFD) == -1);
}

static void cancelled_delivery(void **state)
{
        const uint64_t rows[] = { 1, 2 };
        Fixture *f = *state;

        fd_close(write_row(f, 1, "x"));
        fd_close(write_row(f, 2, "x"));
        f->rows = rows;
        f->n_rows = 2;
        cancel_and_close(f, deliver_fiber);
        assert_int_equal(count(at(f, "new")), 2);
}

/* --- folders and flags --- */

static int owner_reads_folder(Fixture *f)
{
        char text[8] = "";
        _cleanup_close_ int fd = open(at(f, ".Archive.Old/cur/000000000003.W.waypost:2,RS"),
                                      O_RDWR);

        CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 5);
        CHECK(rename(at(f, ".Archive.Old/new/000000000004.W.waypost"),
                     at(f, ".Archive.Old/cur/4:2,S")) == 0);
        FAILS_WITH(open(at(f, ".Archive.Old/maildirfolder"), O_WRONLY), EACCES);
        return 0;
}

static void folders_and_flags(void **state)
{
        static const uint64_t rows[] = { 3, 4, 5 };
        static const uint8_t flags[] = { MAILDIR_SEEN | MAILDIR_REPLIED, 0,
                                         MAILDIR_DRAFT | MAILDIR_FLAGGED };
        _cleanup_(maildir_freep) Maildir *folder = NULL;
        Fixture *f = *state;
        int fds[3];

        assert_int_equal(maildir_open_folder(&folder, f->location, "Archive.Old", OWNER), 0);
        for (size_t i = 0; i < 3; i++)
                fds[i] = write_row(f, rows[i], "hello");
        assert_int_equal(sync_files(f, fds, 3), 0);
        f->folder = folder;
        f->flags = flags;
        assert_int_equal(deliver(f, rows, 3), 0);
        file_is(at(f, ".Archive.Old/cur/000000000003.W.waypost:2,RS"), "hello");
        file_is(at(f, ".Archive.Old/new/000000000004.W.waypost"), "hello");
        file_is(at(f, ".Archive.Old/cur/000000000005.W.waypost:2,DF"), "hello");
        assert_int_equal(count(at(f, "new")) + count(at(f, "cur")) + count(at(f, "tmp")), 0);
        assert_int_equal(deliver(f, rows, 3), 0); /* delivered before */
        as_uid(f, OWNER, owner_reads_folder);
        f->folder = NULL;
        f->flags = NULL;
        for (const char *const *bad = (const char *const[]){ "", ".", "..", "a/b", "/", NULL };
             *bad; bad++)
                assert_int_equal(maildir_open_folder(&folder, f->location, *bad, OWNER), -EINVAL);
        folder = maildir_free(folder);
        f->maildir = maildir_free(f->maildir);
        assert_int_equal(maildir_remove(f->location), 0);
        assert_false(exists(f->location));
}

/* --- removal --- */

static void removal(void **state)
{
        Fixture *f = *state;

        deliver_text(f, 1, "x");
        fd_close(write_row(f, 2, "x"));
        file_put(at(f, "cur/1:2,S"), "x");
        file_put(beside(f, "precious"), "x");
        assert_int_equal(symlink(beside(f, "precious"), at(f, "cur/link")), 0);
        assert_int_equal(mkdir(at(f, "cur/empty"), 0700), 0);
        f->maildir = maildir_free(f->maildir);
        assert_int_equal(maildir_remove(f->location), 0);
        assert_false(exists(f->location));
        assert_true(exists(beside(f, "mail")));
        file_is(beside(f, "precious"), "x");
        assert_int_equal(maildir_remove(f->location), 0);
        assert_int_equal(maildir_remove(beside(f, "not/there")), 0);
        assert_int_equal(maildir_remove("/"), -EINVAL);
        assert_int_equal(maildir_remove("relative"), -EINVAL);
}

static void removal_leaves_what_is_not_mail(void **state)
{
        Fixture *f = *state;

        assert_int_equal(mkdir(at(f, "cur/deep"), 0700), 0);
        file_put(at(f, "cur/deep/file"), "x");
        assert_int_equal(maildir_remove(f->location), -ENOTEMPTY);
        file_is(at(f, "cur/deep/file"), "x");
        remove_tree(at(f, "cur/deep"));
        file_put(at(f, "notes"), "x");
        assert_int_equal(maildir_remove(f->location), -ENOTEMPTY);
        file_is(at(f, "notes"), "x");
}

static void removal_follows_no_link(void **state)
{
        Fixture *f = *state;

        assert_int_equal(rename(f->location, beside(f, "real")), 0);
        assert_int_equal(symlink(beside(f, "real"), f->location), 0);
        assert_int_equal(maildir_remove(f->location), -ELOOP);
        assert_true(exists(beside(f, "real/new")));
}

static int owner_is_out(Fixture *f)
{
        FAILS_WITH(open(at(f, "cur/more"), O_RDWR | O_CREAT, 0600), EACCES);
        return 0;
}

static void removal_shuts_the_owner_out(void **state)
{
        Fixture *f = *state;

        assert_int_equal(mkdir(at(f, "cur/deep"), 0700), 0);
        file_put(at(f, "cur/deep/file"), "x");
        assert_int_equal(maildir_remove(f->location), -ENOTEMPTY);
        as_uid(f, OWNER, owner_is_out);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define OPEN(f) cmocka_unit_test_setup_teardown(f, setup_open, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                OPEN(order_and_names),
                OPEN(who_may_what),
                CASE(service_without_privileges),
                OPEN(rights_are_mended),
                CASE(our_own),
                OPEN(new_becomes_a_link),
                OPEN(tmp_name_is_a_link),
                OPEN(new_name_is_a_link),
                CASE(untrusted_parents),
                OPEN(foreign_folders),
                OPEN(delivered_before),
                OPEN(names_that_are_taken),
                OPEN(half_link_is_not_overwritten),
                OPEN(leftovers),
                OPEN(gone_with_new),
                CASE(full_disk),
                CASE(no_more_files),
                CASE(without_acls),
                OPEN(many_files),
                OPEN(one_fsync_fails),
                OPEN(cancelled_sync),
                OPEN(cancelled_delivery),
                OPEN(folders_and_flags),
                OPEN(removal),
                OPEN(removal_leaves_what_is_not_mail),
                OPEN(removal_follows_no_link),
                OPEN(removal_shuts_the_owner_out),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
