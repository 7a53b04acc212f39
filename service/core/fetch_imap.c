/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IMAP's half of a run: for each chosen folder what is new, reading it, deleting it. A message is known by (folder, UIDVALIDITY, UID); UIDs
 * only rise, so what is asked for is what lies above the highest known one, and everything only where the numbers do not add up
 * because somebody else has removed something. When UIDVALIDITY changes all names do, and messages are recognised by their octets. */
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "core/fetch.h"

/* Between two parts there is a pause of one round trip, in which the run can end. */
enum { READ_MESSAGES = 2000, KEY_SIZE = 24 };
#define NONE SIZE_MAX

/* One folder of this run. */
typedef struct Folder {
        char name[LIMIT_FOLDER + 1];        /* as on the wire */
        char local[LIMIT_FOLDER_LOCAL + 1]; /* in the Maildir; "" the Maildir itself */
        bool missing;
        char key[KEY_SIZE];         /* in names of messages */
        char prefix[KEY_SIZE + 16]; /* of all of them: "KEY/VALIDITY/" */
        uint32_t highest;           /* UID known */
        size_t n_present;           /* known, and not known to be gone */
        size_t first, n;            /* its items */
        size_t fresh, n_fresh;      /* and of those what is to be read */
        bool listed;
        ImapMailbox box;
} Folder;

typedef struct ImapRun {
        char **wanted; /* folders besides INBOX, as on the wire */
        Folder *folders;
        size_t n_folders, at, selected; /* at: the one that is being listed */
        FetchItem *items;
        size_t n_items, n_allocated;
        FetchItem **fresh; /* folder by folder, UIDs ascending */
        size_t n_fresh;
        size_t from, n_part, answered; /* what of them is being read */
        uint32_t *deletable;           /* UIDs */
        size_t n_deletable, n_deletable_allocated;
} ImapRun;

static void imap_run_deinit(Fetch *f)
{
        ImapRun *run = f->state;

        for (size_t i = 0; i < run->n_items; i++)
                free(run->items[i].uidl);
        free(run->folders);
        list_free(run->wanted);
        free(run->items);
        free(run->fresh);
        free(run->deletable);
}

/* --- folders and names ------------------------------------------------------------------------------------------------- */

/* Mail is deleted here, sooner or later; else nothing on the server changes, not even that mail is recent. */
static bool run_deletes(const Fetch *f)
{
        return f->account->record.keep != KEEP_ON_SERVER;
}

static int folder_set_key(Folder *folder)
{
        char digest[SHA256_HEX];
        int r;

        if (text_equal(folder->name, "INBOX")) {
                snprintf(folder->key, sizeof(folder->key), "INBOX");
                return 0;
        }
        r = sha256_text(folder->name, strlen(folder->name), digest);
        snprintf(folder->key, sizeof(folder->key), "%.16s", digest);
        return r;
}

/* A server whose UIDs do not last, or that does not say, gives names for this run only. */
static void folder_set_prefix(Fetch *f, Folder *folder)
{
        const ImapMailbox *box = &folder->box;
        bool lasting = box->uid_validity && !box->uids_not_sticky;

        snprintf(folder->prefix, sizeof(folder->prefix), "%s/%s%u/", folder->key,
                 lasting ? "" : "r", lasting ? box->uid_validity : (uint32_t) f->run.id);
}

/* The UID in a message's name, "KEY/VALIDITY/UID" of this folder; else 0. */
static uint32_t folder_uid(const Folder *folder, const char *name)
{
        size_t len = strlen(folder->prefix);
        uint64_t uid;

        return strncmp(name, folder->prefix, len) == 0 &&
                               text_to_u64(name + len, UINT32_MAX, &uid) == 0
                       ? (uint32_t) uid
                       : 0;
}

static int add_item(ImapRun *run, const Folder *folder, uint32_t uid)
{
        FetchItem *item;
        int r = GROW(run->items, run->n_allocated, run->n_items);

        if (r < 0)
                return r;
        item = &run->items[run->n_items];
        *item = (FetchItem){ .number = uid };
        r = text_format(&item->uidl, "%s%u", folder->prefix, uid);
        run->n_items += r == 0;
        return r;
}

/* --- what is there ------------------------------------------------------------------------------------------------------ */

/* What is known of the folder is taken to be there still. */
static int folder_add_known(Fetch *f, Folder *folder)
{
        int r = 0;

        for (size_t i = 0; i < f->n_known && r == 0; i++) {
                const MessageRecord *record = &f->known[i].record;
                uint32_t uid = folder_uid(folder, record->uidl);

                if (uid == 0)
                        continue;
                folder->highest = MAX(folder->highest, uid);
                if (record->absent_usec)
                        continue;
                folder->n_present++;
                r = add_item(f->state, folder, uid);
        }
        return r;
}

static int on_uid(void *userdata, uint32_t uid)
{
        Fetch *f = userdata;
        ImapRun *run = f->state;
        Folder *folder = &run->folders[run->at];

        folder->highest = MAX(folder->highest, uid);
        return add_item(run, folder, uid);
}

static void run_forget_items(ImapRun *run, size_t from)
{
        while (run->n_items > from)
                free(run->items[--run->n_items].uidl);
}

static int folder_list(Fetch *f, Folder *folder, const ImapMailbox *box)
{
        ImapRun *run = f->state;
        Imap *imap = f->session.imap;
        int r;

        folder->first = run->n_items;
        r = folder_add_known(f, folder);
        if (r < 0)
                return r;
        if (box->exists > 0 && folder->highest < UINT32_MAX &&
            (!box->uid_next || box->uid_next > folder->highest + 1))
                r = imap_list_uids(imap, folder->highest + 1, on_uid, f, &f->no);
        /* Fewer than there should be: something was removed, or moved away. What came meanwhile makes the numbers worth nothing. */
        if (r == 0 && (imap_take_news(imap) || run->n_items - folder->first != imap_exists(imap))) {
                run_forget_items(run, folder->first);
                if (imap_exists(imap) > 0)
                        r = imap_list_uids(imap, 1, on_uid, f, &f->no);
        }
        folder->n = run->n_items - folder->first;
        folder->listed = r == 0;
        return r;
}

/* A session that has waited for news has it selected already, and has been told what has come. */
static int folder_select(Fetch *f, Folder *folder)
{
        ImapRun *run = f->state;
        bool read_only = !run_deletes(f);
        int r;

        if (f->resumed && folder == run->folders && run->selected == NONE &&
            f->read_only == read_only) {
                folder->box = f->mailbox;
                run->selected = 0;
                return 0;
        }
        run->selected = NONE; /* RFC 9051 section 6.3.2: also when it fails */
        r = imap_select(f->session.imap, folder->name, read_only, &folder->box, &f->no);
        if (r == 0)
                run->selected = (size_t) (folder - run->folders);
        return r;
}

/* A folder that is not there any more does not keep the others from being read. */
static int folder_open(Fetch *f, Folder *folder)
{
        ImapRun *run = f->state;
        int r;

        if (folder->missing)
                return fetch_note(f, "mailbox.folder-missing");
        r = folder_select(f, folder);
        if (r == 1 && run->n_folders > 1 && f->no.kind == OUTCOME_REPLY &&
            !text_equal(folder->name, "INBOX") && text_starts_nocase(f->no.text, "NO")) {
                outcome_reset(&f->no);
                return fetch_note(f, "mailbox.folder-missing");
        }
        if (r)
                return r;
        folder_set_prefix(f, folder);
        return folder_list(f, folder, &folder->box);
}

static int run_list(Fetch *f)
{
        ImapRun *run = f->state;
        int r = 0;

        for (run->at = 0; run->at < run->n_folders && r == 0; run->at++)
                r = folder_open(f, &run->folders[run->at]);
        f->run.listed = run->n_items;
        return r;
}

/* --- what is to be read ---------------------------------------------------------------------------------------------------- */

static int fresh_compare(const void *a, const void *b)
{
        const FetchItem *x = *(FetchItem *const *) a, *y = *(FetchItem *const *) b;

        return (x > y) - (x < y);
}

static int uid_compare(const void *a, const void *b)
{
        const FetchItem *x = a, *y = b;

        return (x->number > y->number) - (x->number < y->number);
}

/* Items of one folder lie together; sorted by their place they are sorted by folder and UID. What failed before comes last within
 * its folder's part of the order that was chosen, which does not matter here: a refusal is answered for one message alone. */
static int run_choose(Fetch *f)
{
        ImapRun *run = f->state;
        int r;

        r = fetch_choose(f, run->items, run->n_items, &run->fresh, &run->n_fresh);
        if (r < 0)
                return r;
        if (run->n_fresh > 1)
                qsort(run->fresh, run->n_fresh, sizeof(*run->fresh), fresh_compare);
        for (size_t i = 0, k = 0; i < run->n_folders; i++) {
                Folder *folder = &run->folders[i];

                folder->fresh = k;
                while (k < run->n_fresh &&
                       (size_t) (run->fresh[k] - run->items) < folder->first + folder->n)
                        k++;
                folder->n_fresh = k - folder->fresh;
        }
        return 0;
}

/* --- reading ---------------------------------------------------------------------------------------------------------------- */

static FetchItem *run_item(ImapRun *run, size_t index)
{
        return run->fresh[run->from + index];
}

static int note_deletable(ImapRun *run, uint32_t uid)
{
        int r = GROW(run->deletable, run->n_deletable_allocated, run->n_deletable);

        if (r == 0)
                run->deletable[run->n_deletable++] = uid;
        return r;
}

static int sink_begin(void *userdata, size_t index, uint64_t octets)
{
        Fetch *f = userdata;
        ImapRun *run = f->state;
        FetchItem *item = run_item(run, index);

        run->answered = index;
        item->octets = octets;
        f->total_bytes += octets;
        return fetch_message_begin(f, item);
}

static int sink_data(void *userdata, size_t index, const char *data, size_t len)
{
        return fetch_message_data(userdata, data, len);
}

/* Not \Deleted: whoever reads the Maildir might make that true. */
static unsigned local_flags(unsigned flags)
{
        return (flags & IMAP_SEEN ? MAILDIR_SEEN : 0) |
               (flags & IMAP_ANSWERED ? MAILDIR_REPLIED : 0) |
               (flags & IMAP_FLAGGED ? MAILDIR_FLAGGED : 0) |
               (flags & IMAP_DRAFT ? MAILDIR_DRAFT : 0);
}

static int sink_end(void *userdata, size_t index, uint32_t uid, unsigned flags)
{
        Fetch *f = userdata;
        ImapRun *run = f->state;
        FetchItem *item = run_item(run, index);
        int r;

        item->flags = local_flags(flags);
        r = fetch_message_end(f, item);
        run->answered = index + 1;
        /* All of its octets are those of one that was delivered. */
        if (r == 0 && item->known && f->account->record.keep == KEEP_NOT)
                r = note_deletable(run, uid);
        return r;
}

static int sink_refused(void *userdata, size_t index, const Outcome *no)
{
        Fetch *f = userdata;
        int r = text_set(&f->run.text, no->text);

        f->run.skipped++;
        return r < 0 ? r : fetch_note_failed(f, run_item(f->state, index), no->text, false);
}

/* Somebody else has removed it meanwhile. */
static int sink_gone(void *userdata, size_t index)
{
        Fetch *f = userdata;

        f->run.gone++;
        return delivery_drop(f->delivery, run_item(f->state, index)->row);
}

/* The dialogue ended in one message: if it is that message which does it, it is found out in time. */
static int note_broken(Fetch *f, int result)
{
        ImapRun *run = f->state;
        FetchItem *item;
        int r;

        if (run->answered >= run->n_part || (result != 1 && result != -EFBIG))
                return result;
        item = run_item(run, run->answered);
        if (result == 1) {
                r = item->octets == 0
                            ? 0
                            : fetch_note_failed(f, item,
                                                f->no.text[0] ? f->no.text
                                                              : outcome_kind_name(f->no.kind),
                                                false);
                return r < 0 ? r : result;
        }
        f->run.skipped++;
        f->run.left += run->n_fresh - run->from - run->answered - 1;
        r = fetch_note(f, "fetch.message-too-large");
        return r < 0 ? r : fetch_note_failed(f, item, "larger than message-maximum", true);
}

/* Sizes are known only when messages come: a run's budget ends it between two parts. */
static bool run_is_spent(const Fetch *f)
{
        return fetch_late(f) || f->run.bytes >= f->core->config->run_bytes;
}

static int read_part(Fetch *f, size_t n)
{
        static const ImapSink sink = { sink_begin, sink_data, sink_end, sink_refused, sink_gone };
        _cleanup_free_ uint32_t *uids = calloc(n, sizeof(*uids));
        ImapRun *run = f->state;
        int r;

        if (!uids)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                uids[i] = run->fresh[run->from + i]->number;
        run->n_part = n;
        run->answered = 0;
        r = imap_retrieve(f->session.imap, uids, n, &sink, f, &f->no);
        if (r == -EFBIG) {
                r = note_broken(f, r);
                return r < 0 ? r : 2;
        }
        return r ? note_broken(f, r) : 0;
}

/* Returns 2 when the dialogue is over though nothing went wrong. */
static int folder_read(Fetch *f, const Folder *folder)
{
        ImapRun *run = f->state;
        size_t end = folder->fresh + folder->n_fresh;
        int r = 0;

        for (run->from = folder->fresh; run->from < end && r == 0; run->from += run->n_part) {
                if (run_is_spent(f)) {
                        f->run.left += end - run->from;
                        break;
                }
                r = read_part(f, MIN(end - run->from, (size_t) READ_MESSAGES));
        }
        if (r == 2)
                return fetch_messages_over(f, 0) < 0 ? -EIO : 2;
        return folder->n_fresh > 0 ? fetch_messages_over(f, r) : r;
}

static int run_on_delivered(Fetch *f, const Delivered *messages, size_t n)
{
        int r = 0;

        for (size_t i = 0; i < n && r == 0 && f->account->record.keep == KEEP_NOT; i++)
                r = note_deletable(f->state, messages[i].tag);
        return r;
}

/* --- deleting ----------------------------------------------------------------------------------------------------------------- */

static int deletable_compare(const void *a, const void *b)
{
        const uint32_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

/* Delivered before, still there: an earlier session did not come to delete it, or its days are over. */
static int folder_add_due(Fetch *f, const Folder *folder)
{
        ImapRun *run = f->state;
        int r = 0;

        for (size_t i = folder->first; i < folder->first + folder->n && r == 0; i++) {
                const FetchItem *item = &run->items[i];

                if (item->known && item->stored && fetch_due_for_deletion(f, item))
                        r = note_deletable(run, item->number);
        }
        return r;
}

/* Rows stay: one that somebody moves away before it is expunged, or before it is marked, may come back under another UID and is
 * recognised then. The next list lacks them, and fetch_note_absent() counts their time. */
static int delete_uids(Fetch *f)
{
        ImapRun *run = f->state;
        _cleanup_free_ bool *deleted = calloc(run->n_deletable, sizeof(*deleted));
        int r;

        if (!deleted)
                return -ENOMEM;
        qsort(run->deletable, run->n_deletable, sizeof(*run->deletable), deletable_compare);
        r = imap_delete(f->session.imap, run->deletable, run->n_deletable, deleted, &f->no);
        for (size_t i = 0; i < run->n_deletable; i++)
                f->run.deleted += deleted[i];
        return r;
}

/* Without UIDPLUS only everything that anybody has marked could be removed: nothing is. */
static int folder_delete(Fetch *f, const Folder *folder)
{
        ImapRun *run = f->state;
        int r;

        /* Somebody may have chosen to keep the mail after all while it was read. */
        if (!run_deletes(f))
                return 0;
        r = folder_add_due(f, folder);
        if (r == 0 && run->n_deletable > 0)
                r = delete_uids(f);
        run->n_deletable = 0;
        if (r == 1 && f->no.kind == OUTCOME_NOT_OFFERED) {
                outcome_reset(&f->no);
                return fetch_note(f, "fetch.cannot-delete");
        }
        return r;
}

static bool folder_has_work(const Fetch *f, const Folder *folder)
{
        return folder->listed && (folder->n_fresh > 0 || run_deletes(f));
}

static int run_folder(Fetch *f, size_t index)
{
        ImapRun *run = f->state;
        Folder *folder = &run->folders[index];
        int r = 0;

        if (!folder_has_work(f, folder))
                return 0;
        if (run->selected != index)
                r = folder_select(f, folder);
        if (r)
                return r;
        r = delivery_into(f->delivery, folder->local[0] ? folder->local : NULL);
        if (r == 0)
                r = folder_read(f, folder);
        return r ? r : folder_delete(f, folder);
}

/* --- the run -------------------------------------------------------------------------------------------------------------------- */

static int run_note_findings(Fetch *f)
{
        ImapRun *run = f->state;
        int r = 0;

        if (f->run.duplicates > 0 && 2 * f->run.duplicates > f->run.listed)
                r = fetch_note(f, "fetch.uid-reset");
        if (r == 0 && f->run.skipped > 0)
                r = fetch_note(f, "fetch.message-unreadable");
        /* A list that lacks a folder says nothing of the mail in it. */
        for (size_t i = 0; i < run->n_folders; i++)
                if (!run->folders[i].listed)
                        return r;
        return r == 0 ? fetch_note_absent(f) : r;
}

/* The first folder is the one that news are waited for in. What has come into it since it was listed is told by its size. */
static int run_park(Fetch *f)
{
        ImapRun *run = f->state;
        Folder *first = run->folders;
        uint32_t exists = imap_exists(f->session.imap);
        int r = 0;

        if (!imap_capabilities(f->session.imap)->idle)
                return 0;
        if (run->selected != 0) {
                exists = first->box.exists;
                r = folder_select(f, first);
                if (r == 0 && first->box.exists > exists)
                        f->run.left++;
                first->highest = 0;
        }
        f->mailbox = first->box;
        f->mailbox.uid_next = first->listed && first->highest ? first->highest + 1 : 0;
        f->read_only = !run_deletes(f);
        f->parkable = r == 0;
        return r;
}

/* --- which folders ----------------------------------------------------------------------------------------------------------------- */

/* Maildir++ has a dot between levels and none in a name; what stands in the way is written as the wire writes it (RFC 3501 section 5.1.3). */
static int local_name(Folder *folder, char delimiter)
{
        _cleanup_buffer_ Buffer local = BUFFER(LIMIT_FOLDER_LOCAL);
        int r = 0;

        for (const char *p = folder->name; *p && r == 0; p++)
                r = delimiter && *p == delimiter ? buffer_append(&local, ".", 1)
                    : *p == '.'                  ? buffer_append(&local, "&AC4-", 5)
                    : *p == '/'                  ? buffer_append(&local, "&AC8-", 5)
                                                 : buffer_append(&local, p, 1);
        if (r < 0)
                return r == -ENOBUFS ? 0 : r; /* too long for a name here: it stays missing */
        snprintf(folder->local, sizeof(folder->local), "%s", local.data);
        folder->missing = folder->local[0] == '.';
        return 0;
}

static int on_folder(void *userdata, const ImapFolder *listed)
{
        ImapRun *run = ((Fetch *) userdata)->state;

        for (size_t i = 1; i < run->n_folders; i++)
                if (listed->selectable && text_equal(run->folders[i].name, listed->name))
                        return local_name(&run->folders[i], listed->delimiter);
        return 0;
}

static int wanted_read(ImapRun *run, const char *folders)
{
        int r = 0;

        for (const char *p = folders, *end; p && (end = strchr(p, '\n')) && r == 0; p = end + 1) {
                _cleanup_buffer_ Buffer wire = BUFFER(LIMIT_FOLDER);
                _cleanup_free_ char *name = NULL;

                r = text_set_n(&name, p, (size_t) (end - p));
                if (r == 0)
                        r = imap_name_from_utf8(&wire, name);
                if (r == 0)
                        r = list_append(&run->wanted, wire.data, LIMIT_FOLDERS);
                if (r == -EINVAL || r == -ENOBUFS)
                        r = 0;
        }
        return r;
}

static int run_prepare(Fetch *f)
{
        ImapRun *run = f->state;
        int r;

        r = wanted_read(run, f->account->record.folders);
        if (r < 0)
                return r;
        run->selected = NONE;
        run->n_folders = 1 + list_len(run->wanted);
        run->folders = calloc(run->n_folders, sizeof(*run->folders));
        if (!run->folders)
                return -ENOMEM;
        for (size_t i = 0; i < run->n_folders && r == 0; i++) {
                snprintf(run->folders[i].name, sizeof(run->folders[i].name), "%s",
                         i == 0 ? "INBOX" : run->wanted[i - 1]);
                run->folders[i].missing = i > 0;
                r = folder_set_key(&run->folders[i]);
        }
        if (r == 0 && !f->resumed)
                r = imap_identify(f->session.imap, &f->no);
        if (r == 0 && run->n_folders > 1)
                r = imap_list(f->session.imap, on_folder, f, &f->no);
        return r;
}

static int run_dialogue(Fetch *f)
{
        ImapRun *run = f->state;
        int r;

        r = run_prepare(f);
        if (r == 0)
                r = run_list(f);
        if (r)
                return r;
        for (size_t i = 0; i < run->n_folders; i++)
                if (run->folders[i].n > 1)
                        qsort(run->items + run->folders[i].first, run->folders[i].n,
                              sizeof(*run->items), uid_compare);
        r = fetch_match(f, run->items, run->n_items);
        if (r == 0)
                r = fetch_expect_renamed(f);
        if (r == 0)
                r = run_choose(f);
        if (r == 0 && run->n_fresh > 0)
                r = fetch_reserve(f, run->fresh, run->n_fresh);
        if (r == 0)
                fetch_publish(f, true);
        for (size_t i = 0; i < run->n_folders && r == 0; i++)
                r = run_folder(f, i);
        if (r == 2) {
                /* The rest of a message is still on the wire: this dialogue is over. */
                session_close(&f->session);
                r = 0;
        } else if (r == 0)
                r = run_park(f);
        return r ? r : run_note_findings(f);
}

const FetchProtocol fetch_imap = {
        .state_len = sizeof(ImapRun),
        .dialogue = run_dialogue,
        .delivered = run_on_delivered,
        .deinit = imap_run_deinit,
        .names_last = true,
};
