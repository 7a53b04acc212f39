/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See grant.h. */
#include <json-c/json.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include "core/config_client.h"
#include "core/core_internal.h"
#include "core/grant.h"
#include "dbus/names.h"
#include "probe/oauth_judge.h"
#include "proto/json.h"
#include "talk/oauth.h"

enum { HOSTS_MAX = 16 };

#define LIFE_UNKNOWN_USEC USEC_PER_HOUR /* RFC 6749 section 5.1 leaves it open */
#define AHEAD_USEC (5 * USEC_PER_MINUTE)

struct Grant {
        Core *core;
        unsigned refs;
        char account_id[ID_SIZE]; /* "": nothing is stored yet */
        /* durable */
        char *issuer, *provider, *client, *token, *revocation, *scope, *subject;
        bool registered;
        Secret *client_secret, *refresh;
        char **hosts;
        /* in memory */
        Secret *access;
        uint64_t due_usec; /* when the access token is to be replaced */
        Fiber *fiber;      /* the refresh under way */
        int result;        /* of the last refresh */
        Finding finding;   /* of one that was refused */
        uint64_t n_refreshes;
        FiberQueue waiting;
};

/* --- the object --------------------------------------------------------------------------------------------- */

Grant *grant_ref(Grant *grant)
{
        if (grant)
                grant->refs++;
        return grant;
}

Grant *grant_unref(Grant *grant)
{
        if (!grant || --grant->refs > 0)
                return NULL;
        grant->fiber = fiber_cancel(grant->fiber);
        free(grant->issuer);
        free(grant->provider);
        free(grant->client);
        free(grant->token);
        free(grant->revocation);
        free(grant->scope);
        free(grant->subject);
        secret_unref(grant->client_secret);
        secret_unref(grant->refresh);
        secret_unref(grant->access);
        list_free(grant->hosts);
        finding_clear(&grant->finding);
        free(grant);
        return NULL;
}

/* Ahead of the end by a tenth of the life, five minutes at most, and a little more that differs, so that many accounts do not come at once. */
static void grant_set_due(Grant *grant, uint64_t expires_sec)
{
        uint64_t life = expires_sec > 0 ? MIN(expires_sec, (uint64_t) 86400) * USEC_PER_SEC
                                        : LIFE_UNKNOWN_USEC;
        uint64_t ahead = MIN(life / 10, AHEAD_USEC);

        grant->due_usec = clock_now() + life - ahead - random_below(ahead / 2 + 1);
}

int grant_new(Grant **ret, Core *core, const GrantFacts *facts, OauthTokens *tokens)
{
        _cleanup_(grant_unrefp) Grant *grant = calloc(1, sizeof(*grant));
        int r;

        if (!grant)
                return -ENOMEM;
        grant->refs = 1;
        grant->core = core;
        grant->registered = facts->registered;
        if ((r = text_set(&grant->issuer, facts->issuer)) < 0 ||
            (r = text_set(&grant->provider, facts->provider)) < 0 ||
            (r = text_set(&grant->client, facts->client)) < 0 ||
            (r = text_set(&grant->token, facts->token)) < 0 ||
            (r = text_set(&grant->revocation, facts->revocation)) < 0 ||
            (r = text_set(&grant->scope, facts->scope)) < 0 ||
            (r = text_set(&grant->subject, tokens->subject)) < 0 ||
            (r = list_copy(&grant->hosts, facts->hosts)) < 0)
                return r;
        if (facts->client_secret) {
                r = secret_new(&grant->client_secret, secret_data(facts->client_secret),
                               secret_len(facts->client_secret));
                if (r < 0)
                        return r;
        }
        grant->access = TAKE(tokens->access);
        grant->refresh = TAKE(tokens->refresh);
        grant_set_due(grant, tokens->expires_sec);
        *ret = TAKE(grant);
        return 0;
}

void grant_set_account(Grant *grant, const char *account_id)
{
        memcpy(grant->account_id, account_id, ID_SIZE);
}

const char *grant_issuer(const Grant *grant)
{
        return grant->issuer;
}

const char *grant_client(const Grant *grant)
{
        return grant->client;
}

bool grant_is_registered(const Grant *grant)
{
        return grant->registered;
}

const char *grant_subject(const Grant *grant)
{
        return grant->subject;
}

bool grant_covers(const Grant *grant, const char *host)
{
        return list_contains_nocase(grant->hosts, host);
}

int grant_add_host(Grant *grant, const char *host)
{
        return grant_covers(grant, host) ? 0 : list_append(&grant->hosts, host, HOSTS_MAX);
}

/* --- as a text ---------------------------------------------------------------------------------------------- */

static bool add(json_object *to, const char *key, const char *text)
{
        return !text || json_object_object_add(to, key, json_object_new_string(text)) == 0;
}

static bool add_hosts(json_object *to, char *const *hosts)
{
        json_object *list = json_object_new_array();

        for (; list && hosts && *hosts; hosts++)
                if (json_object_array_add(list, json_object_new_string(*hosts)) < 0)
                        return false;
        return list && json_object_object_add(to, "hosts", list) == 0;
}

int grant_write(const Grant *grant, Secret **ret)
{
        json_object *object = json_object_new_object();
        const char *text;
        int r = -ENOMEM;

        if (object && add(object, "issuer", grant->issuer) &&
            add(object, "provider", grant->provider) && add(object, "client", grant->client) &&
            add(object, "token", grant->token) && add(object, "revocation", grant->revocation) &&
            add(object, "scope", grant->scope) && add(object, "subject", grant->subject) &&
            add_hosts(object, grant->hosts) &&
            json_object_object_add(object, "registered",
                                   json_object_new_boolean(grant->registered)) == 0 &&
            add(object, "secret",
                grant->client_secret ? secret_data(grant->client_secret) : NULL) &&
            add(object, "refresh", grant->refresh ? secret_data(grant->refresh) : NULL)) {
                text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
                r = secret_new(ret, text, strlen(text));
                explicit_bzero((void *) (uintptr_t) text, strlen(text));
        }
        json_wipe(object, "secret");
        json_wipe(object, "refresh");
        json_object_put(object);
        return r;
}

static int take(char **to, json_object *object, const char *key)
{
        return text_set(to, json_text(object, key, LIMIT_TOKEN));
}

static int take_secret(Secret **to, json_object *object, const char *key)
{
        const char *text = json_text(object, key, LIMIT_TOKEN);

        return text && *text ? secret_new(to, text, strlen(text)) : 0;
}

static int take_hosts(char ***to, json_object *object)
{
        json_object *list = json_member(object, "hosts");
        int r = 0;

        for (size_t i = 0; json_object_is_type(list, json_type_array) &&
                           i < json_object_array_length(list) && r == 0;
             i++)
                r = list_append(to, json_object_get_string(json_object_array_get_idx(list, i)),
                                HOSTS_MAX);
        return r;
}

static int grant_fill(Grant *grant, json_object *object)
{
        int r;

        if ((r = take(&grant->issuer, object, "issuer")) < 0 ||
            (r = take(&grant->provider, object, "provider")) < 0 ||
            (r = take(&grant->client, object, "client")) < 0 ||
            (r = take(&grant->token, object, "token")) < 0 ||
            (r = take(&grant->revocation, object, "revocation")) < 0 ||
            (r = take(&grant->scope, object, "scope")) < 0 ||
            (r = take(&grant->subject, object, "subject")) < 0 ||
            (r = take_hosts(&grant->hosts, object)) < 0 ||
            (r = take_secret(&grant->client_secret, object, "secret")) < 0 ||
            (r = take_secret(&grant->refresh, object, "refresh")) < 0)
                return r;
        grant->registered = json_flag(object, "registered") == 1;
        return grant->issuer && grant->client && grant->token ? 0 : -EBADMSG;
}

int grant_read(Grant **ret, Core *core, const char *account_id, const Secret *text)
{
        _cleanup_(grant_unrefp) Grant *grant = calloc(1, sizeof(*grant));
        json_object *object = NULL;
        int r;

        if (!grant)
                return -ENOMEM;
        grant->refs = 1;
        grant->core = core;
        grant_set_account(grant, account_id);
        r = json_read(&object, secret_data(text), secret_len(text));
        if (r == 0)
                r = grant_fill(grant, object);
        json_wipe(object, "secret");
        json_wipe(object, "refresh");
        json_object_put(object);
        if (r < 0)
                return r;
        *ret = TAKE(grant);
        return 0;
}

/* --- refreshing --------------------------------------------------------------------------------------------- */

static int grant_store(Grant *grant)
{
        _cleanup_buffer_ Buffer sealed = BUFFER(4 * LIMIT_TOKEN);
        _cleanup_(secret_unrefp) Secret *text = NULL;
        SealedSecrets secrets;
        int r;

        if (!grant->account_id[0])
                return 0;
        r = grant_write(grant, &text);
        if (r == 0)
                r = vault_seal(grant->core->vault, grant->account_id, "grant", text, &sealed);
        if (r < 0)
                return r;
        secrets = (SealedSecrets){ .grant = sealed.data, .grant_len = sealed.len };
        return store_account_set_secrets(grant->core->store, grant->account_id, &secrets);
}

/* A rotated refresh token is the only one that still works: it is durable before the access token that came with it is used, which some
 * servers take as the word that the old one may go. */
static int grant_take_tokens(Grant *grant, OauthTokens *tokens)
{
        int r;

        if (tokens->refresh && !secret_equal(tokens->refresh, grant->refresh)) {
                secret_unref(grant->refresh);
                grant->refresh = TAKE(tokens->refresh);
                r = grant_store(grant);
                if (r < 0)
                        return r;
        }
        secret_unref(grant->access);
        grant->access = TAKE(tokens->access);
        grant_set_due(grant, tokens->expires_sec);
        return 0;
}

typedef struct Asker {
        OauthServer server;
        ClientConfig config;
} Asker;

static void asker_deinit(Asker *asker)
{
        client_config_deinit(&asker->config);
}

/* The administrator's client may have a new secret since; one that was registered for this has its own. */
static void asker_fill(Asker *asker, const Grant *grant)
{
        Core *core = grant->core;

        asker->server = (OauthServer){
                .http = core->http,
                .policy = core_issuer_policy(core),
                .token = grant->token,
                .revocation = grant->revocation,
                .client = grant->client,
                .client_secret = grant->client_secret,
        };
        if (!grant->registered &&
            client_config_find(&asker->config, core->config->clients_directory, grant->issuer,
                               NULL) == 0 &&
            text_equal(asker->config.client, grant->client)) {
                asker->server.client_secret = asker->config.secret;
                asker->server.secret_by_post = asker->config.secret_by_post;
        }
}

static int refresh_refused(Grant *grant, const Outcome *no)
{
        int r;

        finding_clear(&grant->finding);
        r = oauth_fail(&grant->finding, no, grant->provider);
        if (r == 0)
                r = dict_set_text(&grant->finding.evidence, KEY_OAUTH_ISSUER, grant->issuer);
        return r < 0 ? r : 1;
}

static int refresh_work(void *arg)
{
        Grant *grant = arg;
        _cleanup_(oauth_tokens_deinit) OauthTokens tokens = {};
        _cleanup_(asker_deinit) Asker asker = {};
        _cleanup_outcome_ Outcome no = {};
        int r;

        asker_fill(&asker, grant);
        r = oauth_refresh(&tokens, &asker.server, grant->refresh, &no);
        if (r == 0)
                r = grant_take_tokens(grant, &tokens);
        else if (r == 1)
                r = refresh_refused(grant, &no);
        grant->result = r;
        grant->n_refreshes++;
        fiber_queue_wake_all(&grant->waiting);
        return 0;
}

/* There is nothing to refresh by: somebody has to sign in. */
static int grant_is_over(Grant *grant, Finding *finding)
{
        finding->status = STEP_FAILED;
        finding->cause = "oauth.grant-invalid";
        return dict_set_text(&finding->evidence, KEY_OAUTH_ISSUER, grant->issuer) < 0 ? -ENOMEM : 1;
}

static int finding_copy(Finding *to, const Finding *from)
{
        Dict *evidence = NULL;
        int r = dict_copy(&evidence, &from->evidence);

        if (r < 0)
                return r;
        finding_clear(to);
        *to = (Finding){ from->status, from->cause, from->usec, *evidence };
        free(evidence);
        return 0;
}

/* One at a time, for whoever waits. Returns 0, 1 with @finding, negative errno. */
static int grant_refresh(Grant *grant, Finding *finding)
{
        uint64_t before = grant->n_refreshes;
        int r = 0;

        if (!grant->refresh)
                return grant_is_over(grant, finding);
        if (grant->fiber && fiber_ended(grant->fiber))
                grant->fiber = fiber_cancel(grant->fiber);
        if (!grant->fiber)
                r = fiber_start(&grant->fiber, "refresh", refresh_work, grant);
        while (r == 0 && grant->n_refreshes == before)
                r = fiber_queue_wait(&grant->waiting);
        if (r < 0)
                return r;
        if (grant->result == 1)
                return finding_copy(finding, &grant->finding) < 0 ? -ENOMEM : 1;
        return grant->result;
}

int grant_token(Grant *grant, const char *host, const Secret *refused, Secret **ret,
                Finding *finding)
{
        _cleanup_(grant_unrefp) Grant *held = grant_ref(grant);
        bool fresh;
        int r;

        if (!grant_covers(held, host)) {
                finding->status = STEP_FAILED;
                finding->cause = "oauth.client-misconfigured";
                r = dict_set_text(&finding->evidence, KEY_HOST, host);
                if (r == 0)
                        r = dict_set_text(&finding->evidence, KEY_REASON,
                                          "the tokens of this grant are not for this server");
                return r < 0 ? r : 1;
        }
        fresh = held->access && clock_now() < held->due_usec &&
                !(refused && secret_equal(held->access, refused));
        r = fresh ? 0 : grant_refresh(held, finding);
        if (r == 0)
                *ret = secret_ref(held->access);
        return r;
}

/* --- signing in --------------------------------------------------------------------------------------------- */

static bool token_was_refused(const Finding *finding)
{
        return finding->status == STEP_FAILED &&
               (text_equal(finding->cause, "oauth.token-rejected") ||
                text_equal(finding->cause, "oauth.access-token-expired"));
}

static int sign_in_once(Grant *grant, Session *session, const Secret *refused, Secret **ret_token,
                        Finding *ret)
{
        int r;

        r = grant_token(grant, session->endpoint->host, refused, ret_token, ret);
        if (r != 0)
                return MIN(r, 0);
        session->token = true;
        session->unlisted = core_unlisted_mechanism(grant->core, session->endpoint->host);
        session->refusals_allowed = 1;
        return session_login(session, *ret_token, ret);
}

/* Returns 0 when the dialogue stands again, 1 when not (@ret tells), negative errno. */
static int dial_anew(Session *session, Finding *ret)
{
        StepId step;
        int r;

        session_close(session);
        r = session_open(session, ret, &step);
        if (r < 0)
                return r;
        if (ret->status == STEP_FAILED)
                return 1;
        finding_clear(ret);
        return 0;
}

int grant_sign_in(Grant *grant, Session *session, Finding *ret)
{
        _cleanup_(secret_unrefp) Secret *token = NULL, *other = NULL;
        _cleanup_(grant_unrefp) Grant *held = grant_ref(grant);
        uint64_t before = held->n_refreshes;
        int r;

        r = sign_in_once(held, session, NULL, &token, ret);
        /* A token that was got just now and is refused is no matter of its age. */
        if (r < 0 || !token_was_refused(ret) || held->n_refreshes != before || !held->refresh)
                return r;
        finding_clear(ret);
        r = dial_anew(session, ret);
        return r != 0 ? MIN(r, 0) : sign_in_once(held, session, token, &other, ret);
}

int grant_open_and_sign_in(Grant *grant, Session *session, Finding *ret)
{
        StepId step;
        int r;

        r = session_open(session, ret, &step);
        if (r < 0 || ret->status == STEP_FAILED)
                return r;
        finding_clear(ret);
        return grant_sign_in(grant, session, ret);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

static void revoke_release(void *arg)
{
        grant_unref(arg);
}

static int revoke_work(void *arg)
{
        Grant *grant = arg;
        _cleanup_(asker_deinit) Asker asker = {};
        _cleanup_outcome_ Outcome no = {};
        int r;

        asker_fill(&asker, grant);
        r = oauth_revoke(&asker.server, grant->refresh ? grant->refresh : grant->access,
                         grant->refresh ? "refresh_token" : "access_token", &no);
        if (r == 1)
                log_info("%s did not take a revocation back: %s", grant->issuer,
                         outcome_kind_name(no.kind));
        return 0;
}

void grant_revoke_unref(Grant *grant)
{
        if (!grant || !grant->revocation || (!grant->refresh && !grant->access) ||
            core_start_errand(grant->core, "revoke", revoke_work, revoke_release, grant) < 0)
                grant_unref(grant);
}
