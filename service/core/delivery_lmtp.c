/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See delivery_lmtp.h. The content is read from its file in pieces and never held whole. Surprising: a message in which a bare CR stands
 * before a dot is refused where the server takes no length: some take that for the end of a line, and so could be told more than one
 * message by whoever wrote it. */
#include "core/delivery_lmtp.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "proto/stuff.h"
#include "wire/dial.h"

enum { PIECE = 32 * 1024, ID_LINE_MAX = 128 };

int lmtp_init(Lmtp *lmtp, const Config *config, const char *user_name)
{
        *lmtp = (Lmtp){ .socket = config->lmtp_socket };
        return text_format(&lmtp->recipient, "%s%s%s", user_name, config->lmtp_domain ? "@" : "",
                           config->lmtp_domain ? config->lmtp_domain : "");
}

static void lmtp_hang_up(Lmtp *lmtp)
{
        lmtp->smtp = smtp_free(lmtp->smtp);
}

void lmtp_deinit(Lmtp *lmtp)
{
        lmtp_hang_up(lmtp);
        free(lmtp->recipient);
        outcome_deinit(&lmtp->no);
}

static int lmtp_connect(Lmtp *lmtp)
{
        _cleanup_(stream_freep) Stream *stream = NULL;
        int r;

        r = dial_unix(&stream, lmtp->socket, &lmtp->no);
        if (r == 0)
                r = smtp_open(&lmtp->smtp, TAKE(stream), NULL, "lmtp", &lmtp->no);
        return r ? r : smtp_lhlo(lmtp->smtp, &lmtp->no);
}

/* Reads the file once, through @stuff; each piece goes to @lmtp, or, with NULL, is only counted. */
static int content_walk(Lmtp *lmtp, int fd, Stuff *stuff, uint64_t *ret_len)
{
        _cleanup_free_ char *in = malloc(PIECE), *out = malloc(2 * PIECE);
        uint64_t at = 0, len = 0;
        int r = in && out ? 0 : -ENOMEM;

        while (r == 0) {
                ssize_t n = pread(fd, in, PIECE, (off_t) at);
                size_t n_out;

                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                at += (uint64_t) n;
                n_out = stuff_feed(stuff, in, (size_t) n, out);
                len += n_out;
                if (lmtp)
                        r = smtp_deliver_write(lmtp->smtp, out, n_out, &lmtp->no);
        }
        if (ret_len)
                *ret_len = len + (stuff->in_line ? 2 : 0);
        if (r == 0 && lmtp && stuff->in_line)
                r = smtp_deliver_write(lmtp->smtp, "\r\n", 2, &lmtp->no);
        return r;
}

/* What a reply means: 5yz to the content is this message's fault, anything else the server's or the mailbox's. */
static int lmtp_judge(const Lmtp *lmtp, int r)
{
        if (r != 1)
                return r;
        return lmtp->no.kind == OUTCOME_REPLY && lmtp->no.status / 100 == 5 &&
                               (lmtp->no.phase == PHASE_DATA || lmtp->no.phase == PHASE_DATA_END) &&
                               lmtp->no.status != 552
                       ? 1
                       : 2;
}

static int lmtp_transaction(Lmtp *lmtp, int fd, const char *id_line)
{
        Stuff count = { .dots = !smtp_takes_length(lmtp->smtp) }, content = count;
        uint64_t len;
        int r;

        r = content_walk(NULL, fd, &count, &len);
        if (r < 0)
                return r;
        if (count.ambiguous && count.dots) {
                outcome_set(&lmtp->no, OUTCOME_NOT_OFFERED, PHASE_DATA);
                outcome_set_text(&lmtp->no, "CHUNKING", strlen("CHUNKING"));
                return 1;
        }
        r = smtp_deliver_begin(lmtp->smtp, lmtp->recipient, strlen(id_line) + len, &lmtp->no);
        if (r)
                return lmtp_judge(lmtp, r);
        r = smtp_deliver_write(lmtp->smtp, id_line, strlen(id_line), &lmtp->no);
        if (r == 0)
                r = content_walk(lmtp, fd, &content, NULL);
        if (r == 0)
                r = smtp_deliver_end(lmtp->smtp, &lmtp->no);
        return lmtp_judge(lmtp, r);
}

/* A connection that has been idle may have ended: then a new one tries once. */
int lmtp_deliver(Lmtp *lmtp, int fd, const char *id)
{
        char id_line[ID_LINE_MAX];
        bool used = lmtp->smtp;
        int r;

        snprintf(id_line, sizeof(id_line), "X-Waypost-Id: %s\r\n", id);
        for (;;) {
                outcome_reset(&lmtp->no);
                r = lmtp->smtp ? 0 : lmtp_connect(lmtp);
                if (r == 0)
                        r = lmtp_transaction(lmtp, fd, id_line);
                else if (r == 1)
                        r = 2;
                if (r == 0 || r == 1)
                        return r;
                lmtp_hang_up(lmtp);
                if (r < 0 || !used || lmtp->no.phase != PHASE_MAIL ||
                    lmtp->no.kind == OUTCOME_REPLY)
                        return r;
                used = false;
        }
}

const char *lmtp_cause(const Lmtp *lmtp)
{
        const Outcome *no = &lmtp->no;

        if (no->kind == OUTCOME_REPLY && (no->status == 452 || no->status == 552))
                return "delivery.no-space";
        if (no->kind == OUTCOME_REPLY && no->status / 100 == 5)
                return "delivery.denied";
        if (no->kind == OUTCOME_CONNECT && (no->error == EACCES || no->error == EPERM))
                return "delivery.denied";
        return "delivery.refused";
}
