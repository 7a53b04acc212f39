/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * filewriter: the limit of a durable Maildir delivery. Writes copies of a folder's files the way the disk likes best.
 *
 *     filewriter SOURCE TARGET BATCH THREADS
 *
 * SOURCE is read into memory first, which is not timed. Then, BATCH files at a time: written into TARGET/tmp, fsynced by
 * THREADS threads, TARGET/tmp fsynced, renamed into TARGET/new, that fsynced. While one batch is being fsynced the next
 * one is written, as a fetcher would. No database, no network. It prints "FILES OCTETS SECONDS".
 */

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 32 };

typedef struct File {
        char *data;
        size_t len;
        int fd;
} File;

typedef struct Part {
        File *files;
        size_t n, step;
} Part;

typedef struct Batch {
        File *files;
        size_t first, n;
        unsigned n_threads;
        int tmp, new;
} Batch;

static _Noreturn void fail(const char *what)
{
        perror(what);
        exit(1);
}

static double now(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void file_load(File *file, int folder, const char *name)
{
        int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                fail(name);
        file->len = (size_t) st.st_size;
        file->data = malloc(file->len + 1);
        if (!file->data || read(fd, file->data, file->len) != (ssize_t) file->len)
                fail(name);
        close(fd);
}

static size_t load(File **ret, const char *source)
{
        DIR *directory = opendir(source);
        struct dirent *entry;
        File *files = NULL;
        size_t n = 0, allocated = 0;

        if (!directory)
                fail(source);
        while ((entry = readdir(directory))) {
                if (entry->d_name[0] == '.')
                        continue;
                if (n == allocated) {
                        allocated = allocated ? 2 * allocated : 1024;
                        files = realloc(files, allocated * sizeof *files);
                        if (!files)
                                fail("memory");
                }
                file_load(&files[n++], dirfd(directory), entry->d_name);
        }
        closedir(directory);
        *ret = files;
        return n;
}

static int folder_open(const char *target, const char *name)
{
        char path[4096];
        int fd;

        snprintf(path, sizeof path, "%s/%s", target, name);
        if (mkdir(path, 0700) < 0)
                fail(path);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                fail(path);
        return fd;
}

static void *part_sync(void *arg)
{
        Part *part = arg;

        for (size_t i = 0; i < part->n; i += part->step)
                if (fsync(part->files[i].fd) < 0 || close(part->files[i].fd) < 0)
                        fail("fsync");
        return NULL;
}

static void batch_write(Batch *batch)
{
        char name[32];

        for (size_t i = batch->first; i < batch->first + batch->n; i++) {
                File *file = &batch->files[i];

                snprintf(name, sizeof name, "%zu.bench", i);
                file->fd = openat(batch->tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                if (file->fd < 0 || write(file->fd, file->data, file->len) != (ssize_t) file->len)
                        fail(name);
        }
}

static void *batch_sync(void *arg)
{
        Batch *batch = arg;
        pthread_t threads[THREADS_MAX];
        Part parts[THREADS_MAX];
        char name[32];

        for (unsigned i = 0; i < batch->n_threads; i++) {
                parts[i] = (Part){ &batch->files[batch->first + i], batch->n > i ? batch->n - i : 0,
                                   batch->n_threads };
                if (pthread_create(&threads[i], NULL, part_sync, &parts[i]) != 0)
                        fail("pthread_create");
        }
        for (unsigned i = 0; i < batch->n_threads; i++)
                pthread_join(threads[i], NULL);
        if (fsync(batch->tmp) < 0)
                fail("fsync of tmp");
        for (size_t i = batch->first; i < batch->first + batch->n; i++) {
                snprintf(name, sizeof name, "%zu.bench", i);
                if (renameat(batch->tmp, name, batch->new, name) < 0)
                        fail(name);
        }
        if (fsync(batch->new) < 0)
                fail("fsync of new");
        return NULL;
}

int main(int argc, char **argv)
{
        Batch batch = {}, syncing = {};
        File *files;
        size_t n, size;
        uint64_t octets = 0;
        pthread_t thread;
        double begun;

        if (argc != 5) {
                fprintf(stderr, "usage: filewriter SOURCE TARGET BATCH THREADS\n");
                return 2;
        }
        size = strtoul(argv[3], NULL, 10);
        batch.n_threads = (unsigned) strtoul(argv[4], NULL, 10);
        if (size == 0 || batch.n_threads == 0 || batch.n_threads > THREADS_MAX)
                return 2;
        n = load(&files, argv[1]);
        begun = now();
        if (mkdir(argv[2], 0700) < 0)
                fail(argv[2]);
        batch.files = files;
        batch.tmp = folder_open(argv[2], "tmp");
        batch.new = folder_open(argv[2], "new");
        for (batch.first = 0; batch.first < n; batch.first += size) {
                batch.n = n - batch.first < size ? n - batch.first : size;
                batch_write(&batch);
                if (syncing.n > 0)
                        pthread_join(thread, NULL);
                syncing = batch;
                if (pthread_create(&thread, NULL, batch_sync, &syncing) != 0)
                        fail("pthread_create");
        }
        if (syncing.n > 0)
                pthread_join(thread, NULL);
        for (size_t i = 0; i < n; i++)
                octets += files[i].len;
        printf("%zu %lu %.6f\n", n, (unsigned long) octets, now() - begun);
        return 0;
}
