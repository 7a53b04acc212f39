/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much more mail a user may store. What was fetched is known; what of it is still there only the folders tell, and the owner may
 * throw away mail at any time: so they are counted, but only when what was fetched would be too much, and not in each run. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/core_internal.h"

#define COUNT_AGAIN_USEC (10 * USEC_PER_MINUTE)

/* Owns copies: accounts may go while folders are counted. */
typedef struct Counted {
        char id[ID_SIZE];
        char *location;
        uint64_t bytes;
} Counted;

typedef struct CountJob {
        Job job;
        Counted *places;
        size_t n_places;
} CountJob;

static void directory_endp(DIR **directory)
{
        if (*directory)
                closedir(*directory);
}

/* Files as they are; whatever else the owner has put there is not ours to count. */
static uint64_t folder_bytes(const char *location, const char *name)
{
        _cleanup_free_ char *path = NULL;
        _cleanup_(directory_endp) DIR *directory = NULL;
        uint64_t bytes = 0;
        struct dirent *entry;

        if (text_format(&path, "%s/%s", location, name) < 0)
                return 0;
        directory = opendir(path);
        while (directory && (entry = readdir(directory))) {
                struct stat st;

                if (fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISREG(st.st_mode))
                        bytes += (uint64_t) st.st_size;
        }
        return bytes;
}

static int count_run(Job *base)
{
        CountJob *job = CONTAINER_OF(base, CountJob, job);

        for (size_t i = 0; i < job->n_places; i++)
                job->places[i].bytes = folder_bytes(job->places[i].location, "new") +
                                       folder_bytes(job->places[i].location, "cur");
        return 0;
}

static void count_free(Job *base)
{
        CountJob *job = CONTAINER_OF(base, CountJob, job);

        for (size_t i = 0; i < job->n_places; i++)
                free(job->places[i].location);
        free(job->places);
        free(job);
}

static uint64_t used_by(const Account *account)
{
        return account->record.bytes_fetched -
               MIN(account->bytes_gone, account->record.bytes_fetched);
}

static uint64_t used(Core *core, uid_t uid, size_t *ret_n)
{
        uint64_t bytes = 0;

        *ret_n = 0;
        for (size_t i = 0; i < core->n_accounts; i++)
                if (core->accounts[i]->record.uid == uid) {
                        bytes += used_by(core->accounts[i]);
                        ++*ret_n;
                }
        return bytes;
}

static int count_job_new(CountJob **ret, Core *core, uid_t uid, size_t n)
{
        CountJob *job = calloc(1, sizeof(*job));
        int r;

        if (!job)
                return -ENOMEM;
        job_init(&job->job, count_run, count_free);
        job->places = calloc(n + 1, sizeof(*job->places));
        r = job->places ? 0 : -ENOMEM;
        for (size_t i = 0; i < core->n_accounts && r == 0; i++) {
                const AccountRecord *record = &core->accounts[i]->record;

                if (record->uid != uid || !record->location || job->n_places == n)
                        continue;
                memcpy(job->places[job->n_places].id, record->id, ID_SIZE);
                r = text_set(&job->places[job->n_places].location, record->location);
                job->n_places += r == 0;
        }
        if (r < 0)
                count_free(&job->job);
        else
                *ret = job;
        return r;
}

static int count_places(Core *core, uid_t uid, size_t n)
{
        _cleanup_(job_unrefp) Job *base = NULL;
        CountJob *job;
        int r;

        r = count_job_new(&job, core, uid, n);
        if (r < 0)
                return r;
        base = &job->job;
        r = pool_run(core->disk, base);
        for (size_t i = 0; i < job->n_places && r == 0; i++) {
                Account *account = core_account(core, job->places[i].id);

                if (!account)
                        continue;
                account->counted_usec = clock_now();
                account->bytes_gone = account->record.bytes_fetched -
                                      MIN(job->places[i].bytes, account->record.bytes_fetched);
        }
        return r;
}

uint64_t core_quota(Core *core, uid_t uid)
{
        size_t n;
        uint64_t limit = core->config->bytes_per_uid, bytes = used(core, uid, &n);

        return limit - MIN(bytes, limit);
}

int core_count_quota(Core *core, Account *account, bool asked, uint64_t *ret)
{
        uint64_t limit = core->config->bytes_per_uid;
        uid_t uid = account->record.uid;
        size_t n;
        int r = 0;

        if (used(core, uid, &n) >= limit - limit / 8 &&
            (!account->counted_usec || clock_now() - account->counted_usec > COUNT_AGAIN_USEC ||
             asked))
                r = count_places(core, uid, n);
        *ret = core_quota(core, uid);
        return r;
}
