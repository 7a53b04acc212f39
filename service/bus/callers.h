/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connections that have called us: whose they are, and until when. A connection's uid is asked of the bus once, without
 * waiting for it: its messages are held back in their order until the answer is there, then dispatched as if they had just come.
 * Those whose uid is known are also the watchers that signals go to.
 *
 * The uid is the one that the bus daemon read from the socket when the connection was made; nothing is looked up in /proc. */
#pragma once

#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "base/util.h"

typedef struct Callers Callers;

/* Called when it is known whose a new connection is, before its first call is dispatched. */
typedef void (*CallersCame)(void *userdata, uid_t uid);
/* Called when a connection that had called us has left the bus. */
typedef void (*CallersLeft)(void *userdata, const char *name);

/* Puts the filter and the match on @bus. Returns 0 or what sd-bus says. */
int callers_new(Callers **ret, sd_bus *bus, CallersCame came, CallersLeft left, void *userdata);
Callers *callers_free(Callers *callers);
DEFINE_CLEANUP(Callers, callers_free);

/* True and the uid when @name (may be NULL) is a known caller. */
bool callers_uid(const Callers *callers, const char *name, uid_t *ret);
/* Whether the connection @name may know of what belongs to @owner: it is his, root's, or one that was granted all. */
bool callers_may_see(const Callers *callers, const char *name, uid_t owner);
/* Whether it is root's or was granted all. */
bool callers_see_all(const Callers *callers, const char *name);
/* From now on, and until it leaves, the connection @name sees everything. False when it has left, or did so before. */
bool callers_grant(Callers *callers, const char *name);
/* Calls @each with every watcher that may see what belongs to @owner. */
void callers_each_watcher(const Callers *callers, uid_t owner,
                          void (*each)(void *userdata, const char *name), void *userdata);
