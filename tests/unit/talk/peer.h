/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other side of a dialogue in a test: plays a small script on the other end of a socketpair, on a fiber of the same loop, so
 * that where its words are split is decided by the test and not by chance. A script is a list of lines:
 *   "S: text"  sends the line          "C: text"  reads exactly that line, and nothing more may have come yet
 *   "R: text"  sends without CRLF      "c: text"  the same, but more may have come (pipelined)
 *   "X"        closes                  "L: n"     lets the other side run n times
 * At its end the other side must close without another word. */
#pragma once

#include "tests/unit/base/check.h"

#include "base/transcript.h"
#include "wire/stream.h"

#define PASSWORD "geheim-Wort7"
/* "\0tim\0geheim-Wort7" and "geheim-Wort7" */
#define PLAIN_BASE64 "AHRpbQBnZWhlaW0tV29ydDc="
#define PASSWORD_BASE64 "Z2VoZWltLVdvcnQ3"

/* The client's part. Takes @stream. Checks for itself. */
typedef void (*Play)(Stream *stream_take, Transcript *transcript);

/* Plays @script against @play: as it is, one octet at a time, and split at each place once. The transcript must never show the
 * password. */
void peer_play(Loop *loop, const char *const *script, Play play);
/* The same, cancelling the client after each number of turns. */
void peer_play_cancelled(Loop *loop, const char *const *script, Play play);

/* For servers that are a function of their own; on a fiber. */
typedef struct Peer Peer;
typedef void (*PeerServe)(Peer *peer);
void peer_play_serve(Loop *loop, PeerServe serve, Play play);
void peer_send(Peer *peer, const char *data, size_t len);
/* The next line without its end, false when the client closed; lasts until the next call. */
bool peer_read(Peer *peer, char *line, size_t size);
/* Lines that have come and were not read. */
size_t peer_waiting(Peer *peer);
Secret *peer_password(void);
