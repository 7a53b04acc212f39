/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Delivery into a Maildir under the state directory, in the order of the design: tmp/NAME -> fsync files -> fsync tmp/ -> (commit
 * "staged") -> rename into new/ -> fsync new/. The owner may read and move mail at once: root and tmp/ are ours alone, new/ and cur/
 * are rwx for the owner by ACL, files 0660 (0600 would make the ACL's mask empty), parents 0711. Directory descriptors are held and every
 * call is relative to them with O_NOFOLLOW: nothing in the owner's reach can make us write elsewhere. */
#pragma once

#include <sys/types.h>

#include "base/pool.h"

typedef struct Maildir Maildir;

/* Makes what is missing (parents too: base/mail/UID/ID) and opens it. @owner gets the ACL unless it is our own uid, when everything
 * is simply ours (0700, 0600). Otherwise every directory on the way must be root's or ours, and the four of the Maildir ours: -EPERM;
 * and a link on the way root's or ours: -ELOOP. Blocking but short; on the loop. Returns 0, -EINVAL (not absolute), -EOPNOTSUPP (the
 * file system has no ACLs), -EPERM, -ELOOP, -ENOSPC, -EDQUOT, -errno. */
int maildir_open(Maildir **ret, const char *location, uid_t owner);
Maildir *maildir_free(Maildir *maildir);
DEFINE_CLEANUP(Maildir, maildir_free);
/* Removes the whole Maildir and its folders (used when an account is removed with its mail, and after a setup that was cancelled). Only what
 * maildir_open() made or mail that lies in it; never follows links; parents stay. The owner is shut out first. A missing one is fine.
 * Returns 0, -ENOTEMPTY (there is more in it: that stays), -EPERM (not ours), -errno. Blocking: on a pool. */
int maildir_remove(const char *location);

/* File names follow from the row alone, so that a delivery can be finished by who knows nothing else: "<row>.waypost" in tmp/, and in
 * new/ "<row, 12 digits>.W.waypost", which sorts in the order of arrival and is no other deliverer's. If another file has that name
 * (a database restored from a backup gives old rows again), "<row>.W2.waypost" and so on. */
/* Opens a new tmp/NAME for writing; one that a crash left is removed first (never truncated: it may have its other name in new/
 * already). Returns the descriptor or -ENOSPC, -EDQUOT, -errno. */
int maildir_create(Maildir *maildir, uint64_t row);
/* Removes tmp/NAME; a missing one is fine. */
int maildir_discard(Maildir *maildir, uint64_t row);
/* fsync of all files, then of tmp/, on @pool as one job or several. Consumes the descriptors, also on failure (they are -1
 * then). Suspends. Returns 0 when all is durable; else the first error, and none counts as written: an fsync that failed is not
 * asked again, the messages are written anew. After a failed fsync of tmp/ or new/ this Maildir says -EIO until it is opened again. */
int maildir_sync_files(Maildir *maildir, Pool *pool, int *fds_take, size_t n);
/* Renames each from tmp/ into new/ and fsyncs new/. A file that is no longer in tmp/ was delivered before (after a crash): fine.
 * Suspends. After an error some may have been renamed: to be called again with all of them. */
int maildir_deliver(Maildir *maildir, Pool *pool, const uint64_t *rows, size_t n);
/* The folder @name (Maildir++: "Archive.2024", no dot in front) of the Maildir at @location: a Maildir of its own, made when it is missing,
 * with the same owner. Its tmp/ is not used: what goes into a folder is written in the Maildir's own. Results as of maildir_open(); -EINVAL for
 * a name that could be another place. */
int maildir_open_folder(Maildir **ret, const char *location, const char *name, uid_t owner);
enum { MAILDIR_SEEN = 1, MAILDIR_REPLIED = 2, MAILDIR_FLAGGED = 4, MAILDIR_DRAFT = 8 };
/* maildir_deliver() from @maildir's tmp/ to @folder (NULL: its own); those with @flags (NULL: none has) go into cur/, where flags are. */
int maildir_deliver_to(Maildir *maildir, Maildir *folder, Pool *pool, const uint64_t *rows,
                       const uint8_t *flags, size_t n);
/* After a crash: removes every file of ours in tmp/ whose row is not in @staged (sorted). Returns 0, -errno. */
int maildir_clean(Maildir *maildir, const uint64_t *staged, size_t n_staged);
