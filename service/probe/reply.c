/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See reply.h. The table is read from the top; the first rule whose every condition holds decides. Temporary faults stand
 * before those that blame the password: a wrong "wrong password" costs the user most (RFC 4954 section 4). */
#include <string.h>

#include "base/text.h"
#include "probe/reply.h"

enum {
        IN_GREETING = 1 << 0,
        IN_STARTTLS = 1 << 1,
        IN_LOGIN = 1 << 2,    /* USER, PASS, AUTH */
        IN_MAILBOX = 1 << 3,  /* STAT, LIST, UIDL, RETR: after a login */
        IN_ENVELOPE = 1 << 4, /* MAIL, RCPT */
        IN_DATA = 1 << 5,
        ANYWHERE = (1 << 6) - 1,
};

typedef struct ReplyRule {
        unsigned where;
        const char *code;  /* prefix of the machine code, NULL any */
        const char *words; /* alternatives by '|', words of one all present by '&'; NULL any */
        const char *cause;
} ReplyRule;

static const ReplyRule rules[] = {
        /* encryption is demanded: nothing about the password was judged */
        { IN_LOGIN | IN_ENVELOPE, NULL,
          "plaintext&disallow|cleartext|non-secure|must issue a starttls|starttls&first|use tls|requires ssl|requires tls|encryption required|secure connection",
          "tls.required" },
        { IN_LOGIN, "5.7.11", NULL, "tls.required" },

        /* the maildrop or the number of sessions */
        { ANYWHERE, NULL,
          "too many connections|maximum number of connections|too many concurrent|too many sessions|simultaneous&connections",
          "limit.too-many-connections" },
        { ANYWHERE, "IN-USE", NULL, "mailbox.locked" },
        { IN_LOGIN | IN_MAILBOX, NULL,
          "mailbox&locked|maildrop&locked|mail drop&locked|exclusive|mailbox&in use|maildrop&in use|lock&mailbox|lock&maildrop|another session|another process|is busy",
          "mailbox.locked" },

        /* too often */
        { IN_LOGIN | IN_GREETING, NULL,
          "too many&login|too many&attempts|too many failed|login rate|try again&minutes&login|too many invalid|login frequency|login fail&limit",
          "auth.rate-limited" },
        { ANYWHERE, "LOGIN-DELAY", NULL, "limit.login-delay" },
        { IN_LOGIN, NULL,
          "minutes apart|minimum&interval|login delay|logins&too frequent|check&too often",
          "limit.login-delay" },

        /* how to sign in, told by the server in so many words */
        { IN_LOGIN, NULL,
          "application-specific|application specific|app password|app-password|app-specific|application password|application&required&password|authorization code|authorized code",
          "auth.app-password-required" },
        { IN_LOGIN, "5.7.9", NULL, "auth.app-password-required" },
        { IN_LOGIN, NULL,
          "basic auth|basicauthblocked|oauth&required|modern authentication|requires oauth",
          "auth.oauth-required" },
        { IN_LOGIN, "WEBALERT", NULL, "auth.web-login-required" },
        { IN_LOGIN, NULL,
          "web login|web browser|webbrowser|log in via&web|verify your account|confirm your identity",
          "auth.web-login-required" },

        /* switched off */
        { ANYWHERE, NULL,
          "smtpclientauthentication|smtp auth&disabled|smtp authentication&disabled|smtp&not enabled|smtp&switched off|sending&disabled|no access rights to this service",
          "access.smtp-auth-disabled" },
        { IN_LOGIN | IN_MAILBOX, NULL,
          "by&administrator|for your domain|by your organi|domain administrator",
          "access.disabled-by-admin" },
        { ANYWHERE, NULL, "security defaults|conditional access|blocked by policy",
          "access.blocked-by-policy" },
        { IN_LOGIN | IN_MAILBOX | IN_GREETING, NULL,
          "pop&not enabled|pop3&not enabled|pop&disabled|pop&switched off|pop&turned off|pop&not allowed|pop&not permitted|pop&deactivated|pop&not activated|enable&pop|activate&pop|pop access&denied|pop&is off",
          "access.pop-disabled" },
        { IN_LOGIN | IN_MAILBOX, NULL, "plan&not|upgrade&plan|subscription|hasn't subscribed|paid",
          "access.plan-excludes" },

        /* the account itself */
        { IN_LOGIN, NULL,
          "password&expired|password has expired|must change&password|change your password|password&must be changed",
          "auth.password-expired" },
        { IN_LOGIN, "EXPIRED", NULL, "auth.password-expired" },
        { IN_LOGIN, "4.7.12", NULL, "auth.password-expired" },
        { IN_LOGIN, NULL,
          "account&locked|user&locked|locked out|temporarily locked|temporarily blocked",
          "auth.account-locked" },
        { ANYWHERE, NULL,
          "account&disabled|user&disabled|account&suspended|account&inactive|account&closed|account&deactivated|user&suspended|disabled&user",
          "auth.account-disabled" },
        { IN_LOGIN, "CONTACTADMIN", NULL, "auth.account-disabled" },
        { IN_LOGIN, NULL, "country|location&not allowed|unusual location|ip&not allowed",
          "auth.location-blocked" },
        { IN_LOGIN, NULL, "password&too weak|password&too simple", "auth.password-too-weak" },

        /* trouble on their side; before anything that blames the password */
        { IN_LOGIN, "SYS/TEMP", NULL, "auth.temporary-failure" },
        { IN_LOGIN, "UNAVAILABLE", NULL, "auth.temporary-failure" },
        { IN_MAILBOX, "SYS/TEMP", NULL, "mailbox.unavailable" },
        { ANYWHERE, "SYS/TEMP", NULL, "server.temporary" },
        { ANYWHERE, NULL, "maintenance|shutting down|shutdown|going down", "server.maintenance" },
        { IN_LOGIN, NULL,
          "temporar|try again later|try later|service unavailable|temporarily unavailable|currently unavailable|server unavailable|internal error|internal server|server error|backend|timed out|timeout",
          "auth.temporary-failure" },

        /* storage */
        { IN_MAILBOX | IN_LOGIN, "OVERQUOTA", "bandwidth", "limit.bandwidth" },
        { ANYWHERE, NULL, "bandwidth&limit|bandwidth&exceed", "limit.bandwidth" },
        { IN_ENVELOPE | IN_DATA, NULL,
          "sending&quota|sending limit|submission rate|too many recipients|too many messages|daily&limit|hourly&limit",
          "limit.sending-quota" },
        { IN_ENVELOPE | IN_DATA, "5.4.5", NULL, "limit.sending-quota" },
        { ANYWHERE, NULL,
          "over quota|overquota|quota&exceed|mailbox&full|storage&full|out of storage|disk quota",
          "mailbox.over-quota" },
        { ANYWHERE, "OVERQUOTA", NULL, "mailbox.over-quota" },
        { IN_ENVELOPE | IN_DATA, "5.2.2", NULL, "mailbox.over-quota" },
        { IN_ENVELOPE | IN_DATA, "4.2.2", NULL, "mailbox.over-quota" },

        /* sending */
        { IN_ENVELOPE | IN_DATA, NULL, "greylist|graylist|grey-list|gray-list|greylisted",
          "smtp.greylisted" },
        { IN_ENVELOPE, NULL,
          "authentication required|must authenticate|authenticate first|please authenticate|auth first|not authenticated",
          "auth.required" },
        { IN_ENVELOPE, "5.7.0", "auth", "auth.required" },
        { IN_ENVELOPE | IN_DATA, NULL, "check for new mail|pop before|pop-before",
          "smtp.pop-before-send" },
        { IN_ENVELOPE | IN_DATA, NULL,
          "not owned|not&allowed to send|not&authorized to send|not authorised to send|send as|sendas|sender&reject|sender address&reject|sender&mismatch|sender&not allowed|sender&not permitted|from address|mail from&must|must be the same|relaying disallowed as|not allowed to use|does not match&sender|not permitted to send|sender verify|unauthorized sender",
          "smtp.sender-rejected" },
        { IN_ENVELOPE | IN_DATA, "5.7.60", NULL, "smtp.sender-rejected" },
        { IN_ENVELOPE | IN_DATA, NULL,
          "outgoing blocked|sending suspended|outbound&blocked|outbound&suspended|bad outbound",
          "smtp.sending-suspended" },
        { ANYWHERE, NULL, "blocklist|blacklist|spamhaus|blocked using|listed at|dnsbl|rbl",
          "smtp.ip-blocklisted" },
        { IN_ENVELOPE | IN_DATA, NULL, "relay", "smtp.relay-denied" },
        { IN_ENVELOPE | IN_DATA, NULL,
          "user unknown|unknown user|no such user|does not exist|mailbox not found|recipient&unknown|unknown recipient|no mailbox|mailbox unavailable|recipient&reject",
          "smtp.recipient-unknown" },
        { IN_ENVELOPE | IN_DATA, "5.1.1", NULL, "smtp.recipient-unknown" },
        { IN_DATA, NULL, "too large|too big|exceeds&size|message size", "smtp.message-too-large" },
        { IN_DATA | IN_ENVELOPE, NULL, "spf|dkim|dmarc", "smtp.domain-auth-failed" },
        { IN_DATA, NULL, "spam|virus|policy|content|suspicious", "smtp.content-rejected" },

        /* messages */
        { IN_MAILBOX, NULL, "no such message|expunged|no longer&exist|invalid message number",
          "fetch.message-gone" },
        { IN_MAILBOX, NULL, "too large|too big", "fetch.message-too-large" },

        /* the method */
        { IN_LOGIN, "5.5.4", NULL, "auth.mechanism-unsupported" },
        { IN_LOGIN, "5.7.4", NULL, "auth.mechanism-unsupported" },
        { IN_LOGIN, NULL,
          "mechanism|unrecognized authentication|authentication type|auth&not supported|authentication not supported",
          "auth.mechanism-unsupported" },

        { IN_LOGIN, "SYS/PERM", NULL, "server.misconfigured" },
        { ANYWHERE, "SYS/PERM", NULL, "server.misconfigured" },
        { IN_LOGIN, "AUTH", NULL, "auth.bad-credentials" },
        { IN_LOGIN, "5.7.8", NULL, "auth.bad-credentials" },
};

static unsigned reply_where(const ReplyContext *context)
{
        switch (context->phase) {
        case PHASE_GREETING:
        case PHASE_CAPABILITY:
                return IN_GREETING;
        case PHASE_STARTTLS:
                return IN_STARTTLS;
        case PHASE_USER:
        case PHASE_LOGIN:
                return IN_LOGIN;
        case PHASE_STAT:
        case PHASE_LIST:
        case PHASE_UIDL:
        case PHASE_TOP:
        case PHASE_RETRIEVE:
        case PHASE_DELETE:
        case PHASE_QUIT:
                return IN_MAILBOX;
        case PHASE_MAIL:
        case PHASE_RCPT:
        case PHASE_RESET:
                return IN_ENVELOPE;
        case PHASE_DATA:
        case PHASE_DATA_END:
                return IN_DATA;
        case PHASE_NONE:
        case PHASE_RESOLVE:
        case PHASE_CONNECT:
        case PHASE_HANDSHAKE:
        case PHASE_HTTP:
                return 0;
        }
        return 0;
}

/* All words of one alternative, in any order. */
static bool words_present(const char *text, const char *words, size_t len)
{
        while (len > 0) {
                const char *end = memchr(words, '&', len);
                size_t n = end ? (size_t) (end - words) : len;

                if (!memmem(text, strlen(text), words, n))
                        return false;
                words += n + (end ? 1 : 0);
                len -= n + (end ? 1 : 0);
        }
        return true;
}

static bool words_match(const char *text, const char *words)
{
        while (*words) {
                size_t n = strcspn(words, "|");

                if (words_present(text, words, n))
                        return true;
                words += n + (words[n] ? 1 : 0);
        }
        return false;
}

static bool rule_matches(const ReplyRule *rule, unsigned where, const char *code, const char *text)
{
        return (rule->where & where) && (!rule->code || text_starts_nocase(code, rule->code)) &&
               (!rule->words || words_match(text, rule->words));
}

/* No rule: the position and the status decide. */
static const char *reply_by_status(const ReplyContext *context, unsigned where, unsigned status,
                                   const char *code)
{
        bool temporary = (status >= 400 && status < 500) || code[0] == '4';

        if (where & IN_STARTTLS)
                return "tls.starttls-failed";
        if (where & IN_LOGIN)
                return temporary       ? "auth.temporary-failure"
                       : status == 530 ? "tls.required"
                       : status == 534 ? "auth.app-password-required"
                                       : "auth.bad-credentials";
        if (temporary)
                return "server.temporary";
        if (where & IN_ENVELOPE) {
                if (status == 530)
                        return "auth.required";
                return context->phase == PHASE_RCPT ? "smtp.relay-denied" : "smtp.sender-rejected";
        }
        if (where & IN_DATA)
                return "smtp.content-rejected";
        if (where & IN_MAILBOX)
                return "mailbox.unavailable";
        return "server.temporary";
}

const char *reply_judge(const ReplyContext *context, unsigned status, const char *code,
                        const char *text)
{
        char lower[LIMIT_REPLY_TEXT + 1];
        unsigned where = reply_where(context);

        text_printable(lower, sizeof(lower), text, strlen(text));
        text_lower(lower);
        for (size_t i = 0; i < ELEMENTS(rules); i++)
                if (rule_matches(&rules[i], where, code, lower))
                        return rules[i].cause;
        return reply_by_status(context, where, status, code);
}
