/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See authorization.h. */
#include <config.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include "core/authorization.h"
#include "core/config_client.h"
#include "dbus/names.h"
#include "probe/oauth_judge.h"
#include "proto/address.h"
#include "talk/oauth.h"

enum {
        STATE_OCTETS = 16,
        INTERVAL_SEC = 5,
        INTERVAL_MAX_SEC = 60,
        DEVICE_MAX_SEC = 1800,
        CODE_MAX_SEC = 900
};

#define SCOPE_MAIL "urn:ietf:params:oauth:scope:mail"
#define REDIRECT "http://127.0.0.1/callback"

struct Authorization {
        Setup *setup;
        Side side;
        char *issuer;
        const Provider *provider; /* of the table; NULL */
        OauthMetadata metadata;
        ClientConfig config; /* client NULL: it was registered */
        OauthClient registered;
        char *scope;
        /* a flow under way */
        char state[2 * STATE_OCTETS + 1], nonce[2 * STATE_OCTETS + 1];
        char *verifier, *redirect; /* NULL: none */
        uint64_t due_usec;         /* until when it may be completed */
        Secret *code;
        OauthDevice device;
        Fiber *fiber;
        /* what came of it */
        Grant *grant;
        Finding failure;
        bool failed;
};

/* --- the object --------------------------------------------------------------------------------------------- */

static void flow_end(Authorization *a)
{
        a->fiber = fiber_cancel(a->fiber);
        explicit_bzero(a->state, sizeof(a->state));
        if (a->verifier)
                explicit_bzero(a->verifier, strlen(a->verifier));
        free(TAKE(a->verifier));
        free(TAKE(a->redirect));
        a->code = secret_unref(a->code);
        oauth_device_deinit(&a->device);
}

Authorization *authorization_free(Authorization *a)
{
        if (!a)
                return NULL;
        flow_end(a);
        oauth_metadata_deinit(&a->metadata);
        client_config_deinit(&a->config);
        oauth_client_deinit(&a->registered);
        free(a->issuer);
        free(a->scope);
        grant_unref(a->grant);
        finding_clear(&a->failure);
        free(a);
        return NULL;
}

void authorization_forget(Authorization *a)
{
        flow_end(a);
        finding_clear(&a->failure);
        a->failed = false;
        a->grant = grant_unref(a->grant);
}

int authorization_result(const Authorization *a, Grant **ret_grant, const Finding **ret_failure)
{
        *ret_grant = a->grant;
        *ret_failure = a->failed ? &a->failure : NULL;
        return a->grant || a->failed;
}

static const char *client_id(const Authorization *a)
{
        return a->config.client ? a->config.client : a->registered.id;
}

static OauthServer server_of(const Authorization *a)
{
        return (OauthServer){
                .http = a->setup->core->http,
                .policy = core_issuer_policy(a->setup->core),
                .token = a->metadata.token,
                .device = a->metadata.device,
                .registration = a->metadata.registration,
                .revocation = a->metadata.revocation,
                .client = client_id(a),
                .client_secret = a->config.client ? a->config.secret : a->registered.secret,
                .secret_by_post = a->config.secret_by_post,
        };
}

/* --- which issuer, which client ----------------------------------------------------------------------------- */

int authorization_issuer(char **to, Setup *setup, Side side)
{
        const SetupSide *s = &setup->sides[side];
        const Provider *provider = setup_provider(setup, side);
        _cleanup_(client_config_deinit) ClientConfig config = {};
        const char *issuer = NULL;
        int r;

        r = client_config_find(&config, setup->core->config->clients_directory, NULL,
                               s->endpoint.host);
        if (r == -ENOMEM)
                return r;
        if (r == 0)
                issuer = config.issuer;
        else if (s->candidate && s->candidate->oauth_issuer)
                issuer = s->candidate->oauth_issuer;
        else if (provider)
                issuer = provider->oauth_issuer;
        /* Mozilla's documents often name a bare host. */
        if (issuer && !strstr(issuer, "://"))
                return text_format(to, "https://%s", issuer);
        return text_set(to, issuer);
}

static int no_client(const Authorization *a, Finding *finding)
{
        const SetupSide *s = &a->setup->sides[a->side];
        const Provider *p = a->provider;
        int r;

        finding->status = STEP_FAILED;
        finding->cause = "oauth.no-client";
        r = dict_set_text(&finding->evidence, KEY_HOST, s->endpoint.host);
        if (r == 0)
                r = dict_set_text(&finding->evidence, KEY_USER, s->endpoint.user);
        if (r == 0)
                r = dict_set_text(&finding->evidence, KEY_OAUTH_ISSUER, a->issuer);
        if (r == 0 && p && p->app_password != APP_PASSWORD_NO) {
                r = dict_set_text(&finding->evidence, KEY_ALTERNATIVE, "app-password");
                if (r == 0)
                        r = dict_set_text(&finding->evidence, KEY_HINT_URL, p->app_password_page);
        }
        return r < 0 ? r : 1;
}

static int endpoints_take(OauthMetadata *to, const char *issuer, const char *authorization,
                          const char *token, const char *device, const char *revocation)
{
        int r;

        if ((r = text_set(&to->issuer, issuer)) < 0 ||
            (r = text_set(&to->authorization, authorization)) < 0 ||
            (r = text_set(&to->token, token)) < 0 || (r = text_set(&to->device, device)) < 0)
                return r;
        return text_set(&to->revocation, revocation);
}

static int metadata_failed(const Authorization *a, const Outcome *no, Finding *finding)
{
        int r = oauth_fail(finding, no, a->provider ? a->provider->id : NULL);

        if (r == 0)
                r = dict_set_text(&finding->evidence, KEY_OAUTH_ISSUER, a->issuer);
        return r < 0 ? r : 1;
}

/* The administrator's endpoints, then the table's (for issuers that have no description, or a template of one), then the issuer's own word. */
static int metadata_find(Authorization *a, Finding *finding)
{
        const Provider *p = a->provider;
        _cleanup_outcome_ Outcome no = {};
        int r;

        if (a->config.client && a->config.token)
                return endpoints_take(&a->metadata, a->issuer, a->config.authorization,
                                      a->config.token, a->config.device, a->config.revocation);
        if (p && p->oauth_token && text_equal(p->oauth_issuer, a->issuer))
                return endpoints_take(&a->metadata, a->issuer, p->oauth_authorization,
                                      p->oauth_token, p->oauth_device, NULL);
        r = oauth_fetch_metadata(&a->metadata, a->setup->core->http, a->issuer,
                                 core_issuer_policy(a->setup->core), &no);
        return r == 1 ? metadata_failed(a, &no, finding) : r;
}

static bool scope_offered(const Authorization *a, const char *scope)
{
        return list_contains_nocase(a->metadata.scopes, scope);
}

/* The administrator's, the table's; else what the open profile has, as far as the issuer says that it knows it. */
static int scope_choose(Authorization *a)
{
        static const char *const wishes[] = { SCOPE_MAIL, "offline_access", "openid", "email" };
        const Provider *p = a->provider;
        _cleanup_buffer_ Buffer scope = BUFFER(LIMIT_STRING);
        int r = 0;

        if (a->config.client && a->config.scopes)
                return text_set(&a->scope, a->config.scopes);
        if (p && p->oauth_scopes && text_equal(p->oauth_issuer, a->issuer))
                return text_set(&a->scope, p->oauth_scopes);
        if (!a->metadata.scopes)
                return text_set(&a->scope, SCOPE_MAIL " offline_access");
        for (size_t i = 0; i < ELEMENTS(wishes) && r == 0; i++)
                if (scope_offered(a, wishes[i]))
                        r = buffer_printf(&scope, "%s%s", scope.len > 0 ? " " : "", wishes[i]);
        return r < 0 ? r : buffer_take(&scope, &a->scope);
}

/* One registration for each issuer: that of another account, or of an earlier try. */
static int registration_known(Authorization *a)
{
        Core *core = a->setup->core;

        for (size_t i = 0; i < core->n_accounts; i++) {
                const Grant *grant = core->accounts[i]->grant;

                if (grant && grant_is_registered(grant) &&
                    text_equal(grant_issuer(grant), a->issuer))
                        return text_set(&a->registered.id, grant_client(grant));
        }
        for (size_t i = 0; i < ELEMENTS(core->registrations); i++)
                if (text_equal(core->registrations[i].issuer, a->issuer))
                        return text_set(&a->registered.id, core->registrations[i].client);
        return 0;
}

static int registration_remember(Authorization *a)
{
        Core *core = a->setup->core;
        Registration *slot =
                &core->registrations[core->n_registrations++ % ELEMENTS(core->registrations)];
        int r;

        /* One with a secret of its own belongs to the grant that has it. */
        if (a->registered.secret)
                return 0;
        r = text_set(&slot->issuer, a->issuer);
        return r < 0 ? r : text_set(&slot->client, a->registered.id);
}

static int client_register(Authorization *a, Finding *finding)
{
        OauthServer server = server_of(a);
        OauthRegistration what = {
                .redirects = { REDIRECT, "http://[::1]/callback", NULL },
                .scope = a->scope,
                .name = "waypost",
                .version = PACKAGE_VERSION,
                .device = a->metadata.device != NULL,
        };
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = registration_known(a);
        if (r < 0 || a->registered.id)
                return r;
        r = oauth_register(&a->registered, &server, &what, &no);
        if (r == 1)
                return metadata_failed(a, &no, finding);
        return r < 0 ? r : registration_remember(a);
}

static int authorization_prepare(Authorization *a, Finding *finding)
{
        const Config *config = a->setup->core->config;
        bool known, registers;
        int r;

        r = client_config_find(&a->config, config->clients_directory, a->issuer, NULL);
        if (r == -ENOMEM)
                return r;
        known = r == 0;
        /* Where only registered programs are admitted nobody need be asked. */
        registers = config->registration &&
                    !(a->provider && a->provider->oauth_issuer && !a->provider->oauth_registration);
        if (!known && !registers)
                return no_client(a, finding);
        r = metadata_find(a, finding);
        if (r == 0)
                r = scope_choose(a);
        if (r != 0 || known)
                return r;
        return a->metadata.registration ? client_register(a, finding) : no_client(a, finding);
}

int authorization_new(Authorization **ret, Setup *setup, Side side, const char *issuer,
                      Finding *finding)
{
        _cleanup_(authorization_freep) Authorization *a = calloc(1, sizeof(*a));
        int r;

        if (!a)
                return -ENOMEM;
        a->setup = setup;
        a->side = side;
        a->provider = setup_provider(setup, side);
        r = text_set(&a->issuer, issuer);
        if (r == 0 && !oauth_issuer_is_valid(issuer))
                return no_client(a, finding);
        if (r == 0)
                r = authorization_prepare(a, finding);
        if (r != 0)
                return r;
        *ret = TAKE(a);
        return 0;
}

/* --- which host --------------------------------------------------------------------------------------------- */

static bool same_organisation(const char *issuer, const char *host)
{
        _cleanup_free_ char *of_issuer = NULL, *of_host = NULL, *name = NULL;
        const char *begin = issuer + strlen("https://");

        if (text_set_n(&name, begin, strcspn(begin, ":/")) < 0 ||
            host_registrable(&of_issuer, name) < 0 || host_registrable(&of_host, host) < 0)
                return false;
        return text_equal_nocase(of_issuer, of_host);
}

bool authorization_is_for(const Authorization *a, const char *host)
{
        const Provider *p = provider_by_host(a->setup->core->providers, host);

        if (a->config.client && a->config.hosts)
                return list_contains_nocase(a->config.hosts, host);
        if (p && text_equal(p->oauth_issuer, a->issuer))
                return true;
        if (a->metadata.protected_resources)
                return list_contains_nocase(a->metadata.protected_resources, host);
        return same_organisation(a->issuer, host);
}

/* --- beginning ---------------------------------------------------------------------------------------------- */

/* Without S256 there is no proof that the code is ours (RFC 9700 section 2.1.1). Whoever does not say is asked with it all the same. */
static bool has_code_flow(const Authorization *a)
{
        return a->metadata.authorization &&
               (!a->metadata.challenge_known || a->metadata.challenge_s256);
}

int authorization_describe(const Authorization *a, Dict *details)
{
        int r;

        r = dict_set_text(details, KEY_OAUTH_ISSUER, a->issuer);
        if (r == 0 && has_code_flow(a))
                r = dict_add_to_list(details, KEY_METHODS, FLOW_CODE);
        if (r == 0 && a->metadata.device)
                r = dict_add_to_list(details, KEY_METHODS, FLOW_DEVICE);
        if (r == 0 && a->config.secret_expires_usec)
                r = dict_set_number(details, KEY_SECRET_EXPIRES, a->config.secret_expires_usec);
        return r < 0 ? r : dict_set_text(details, KEY_SCOPES, a->scope);
}

/* The registered redirect with the caller's port, and his family of loopback addresses. */
static int redirect_make(Authorization *a, const Dict *options, const char **ret_why)
{
        Core *core = a->setup->core;
        const char *host = dict_text(options, KEY_REDIRECT_HOST), *path;
        uint64_t port = dict_number(options, KEY_REDIRECT_PORT, 0);
        const char *wanted = a->config.client ? a->config.redirect : REDIRECT;
        size_t host_len;

        if (port < 1 || port > UINT16_MAX)
                return core_why(core, ret_why, SETUP_INVALID_KEY,
                                "'%s' is the port on which the redirect is waited for",
                                KEY_REDIRECT_PORT);
        if (host && !text_equal(host, "127.0.0.1") && !text_equal(host, "::1"))
                return core_why(core, ret_why, SETUP_INVALID_KEY, "'%s' is 127.0.0.1 or ::1",
                                KEY_REDIRECT_HOST);
        path = strchr(wanted + strlen("http://"), '/');
        path = path ? path : "";
        host_len = strlen(wanted) - strlen(path);
        if (text_equal(host, "::1") && !strstr(wanted, "localhost"))
                return text_format(&a->redirect, "http://[::1]:%u%s", (unsigned) port, path);
        return text_format(&a->redirect, "%.*s:%u%s", (int) host_len, wanted, (unsigned) port,
                           path);
}

static int verifier_make(char **to)
{
        _cleanup_buffer_ Buffer text = BUFFER_SECRET(128);
        uint8_t octets[OAUTH_VERIFIER_OCTETS];
        int r;

        r = random_bytes(octets, sizeof(octets));
        if (r == 0)
                r = oauth_base64url(&text, octets, sizeof(octets));
        explicit_bzero(octets, sizeof(octets));
        return r < 0 ? r : buffer_take(&text, to);
}

static int begin_code(Authorization *a, const Dict *options, Dict *ret, const char **ret_why)
{
        const Provider *p = a->provider;
        _cleanup_free_ char *url = NULL;
        OauthQuestion question;
        int r;

        r = redirect_make(a, options, ret_why);
        if (r == 0)
                r = random_hex(a->state, STATE_OCTETS);
        if (r == 0)
                r = random_hex(a->nonce, STATE_OCTETS);
        if (r == 0)
                r = verifier_make(&a->verifier);
        if (r != 0)
                return r;
        question = (OauthQuestion){
                .endpoint = a->metadata.authorization,
                .client = client_id(a),
                .redirect = a->redirect,
                .scope = a->scope,
                .state = a->state,
                .verifier = a->verifier,
                .nonce = strstr(a->scope, "openid") ? a->nonce : NULL,
                .login_hint = a->setup->address ? a->setup->address->address : NULL,
                .parameters =
                        a->config.client && a->config.parameters ? a->config.parameters
                        : p && p->oauth_parameters               ? p->oauth_parameters
                        /* OpenID Core section 11: without it there may be no refresh token. */
                        : strstr(a->scope, "offline_access") ? "prompt=consent"
                                                             : NULL,
        };
        r = oauth_authorization_url(&url, &question);
        if (r == 0)
                r = dict_set_text(ret, KEY_FLOW, FLOW_CODE);
        if (r == 0)
                r = dict_set_text(ret, KEY_URL, url);
        if (r == 0)
                r = dict_set_text(ret, KEY_REDIRECT_URI, a->redirect);
        if (r == 0)
                r = dict_set_number(ret, KEY_EXPIRES, CODE_MAX_SEC);
        a->due_usec = clock_now() + CODE_MAX_SEC * USEC_PER_SEC;
        return r;
}

static int poll_work(void *arg);

static int device_tell(const Authorization *a, Dict *ret)
{
        int r;

        r = dict_set_text(ret, KEY_FLOW, FLOW_DEVICE);
        if (r == 0)
                r = dict_set_text(ret, KEY_USER_CODE, a->device.user_code);
        if (r == 0)
                r = dict_set_text(ret, KEY_URL, a->device.uri);
        if (r == 0 && a->device.uri_complete[0])
                r = dict_set_text(ret, KEY_URL_COMPLETE, a->device.uri_complete);
        return r < 0 ? r : dict_set_number(ret, KEY_EXPIRES, a->device.expires_sec);
}

static int begin_device(Authorization *a, Dict *ret, const char **ret_why)
{
        OauthServer server = server_of(a);
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = oauth_device_start(&a->device, &server, a->scope, &no);
        if (r == 1)
                return core_why(a->setup->core, ret_why, SETUP_NOT_SUPPORTED, "%s: %s",
                                oauth_judge(&no, NULL), no.text[0] ? no.text : "no code came");
        if (r < 0)
                return r;
        a->device.expires_sec = a->device.expires_sec > 0
                                        ? MIN(a->device.expires_sec, (uint64_t) DEVICE_MAX_SEC)
                                        : DEVICE_MAX_SEC;
        a->due_usec = clock_now() + a->device.expires_sec * USEC_PER_SEC;
        r = device_tell(a, ret);
        return r < 0 ? r : fiber_start(&a->fiber, "device", poll_work, a);
}

int authorization_begin(Authorization *a, const Dict *options, Dict *ret, const char **ret_why)
{
        const char *flow = dict_text(options, KEY_FLOW);
        bool device = flow ? text_equal(flow, FLOW_DEVICE) : !has_code_flow(a);

        if (flow && !device && !text_equal(flow, FLOW_CODE))
                return core_why(a->setup->core, ret_why, SETUP_INVALID_KEY,
                                "'%s' is code or device", KEY_FLOW);
        if (device ? !a->metadata.device : !has_code_flow(a))
                return core_why(a->setup->core, ret_why, SETUP_NOT_SUPPORTED,
                                "%s does not offer the flow %s", a->issuer,
                                device ? FLOW_DEVICE : FLOW_CODE);
        authorization_forget(a);
        return device ? begin_device(a, ret, ret_why) : begin_code(a, options, ret, ret_why);
}

/* --- what comes of it --------------------------------------------------------------------------------------- */

static void authorization_wake(Authorization *a)
{
        fiber_queue_wake_all(&a->setup->input);
}

static int fail(Authorization *a, const char *cause, const char *key, const char *value)
{
        finding_clear(&a->failure);
        a->failure.status = STEP_FAILED;
        a->failure.cause = cause;
        a->failed = true;
        authorization_wake(a);
        return dict_set_text(&a->failure.evidence, key, value) < 0 ||
                               dict_set_text(&a->failure.evidence, KEY_OAUTH_ISSUER, a->issuer) < 0
                       ? -ENOMEM
                       : 0;
}

static int fail_outcome(Authorization *a, const Outcome *no)
{
        int r;

        finding_clear(&a->failure);
        r = metadata_failed(a, no, &a->failure);
        /* The code was for once: whatever happened to it, the browser has to be asked again. */
        a->failed = true;
        authorization_wake(a);
        return MIN(r, 0);
}

static int grant_make(Authorization *a, OauthTokens *tokens)
{
        _cleanup_list_ char **hosts = NULL;
        const GrantFacts facts = {
                .issuer = a->issuer,
                .provider = a->provider ? a->provider->id : NULL,
                .client = client_id(a),
                .client_secret = a->config.client ? NULL : a->registered.secret,
                .registered = !a->config.client,
                .token = a->metadata.token,
                .revocation = a->metadata.revocation,
                .scope = a->scope,
        };
        GrantFacts with_hosts = facts;
        int r = 0;

        for (size_t i = 0; i < 2 && r == 0; i++) {
                const char *host = a->setup->sides[i].endpoint.host;

                if (a->setup->sides[i].wanted && host && authorization_is_for(a, host) &&
                    !list_contains_nocase(hosts, host))
                        r = list_append(&hosts, host, 2);
        }
        with_hosts.hosts = hosts;
        if (r == 0)
                r = transcript_hide(a->setup->transcript, tokens->access);
        if (r == 0 || r == -ENOBUFS)
                r = grant_new(&a->grant, a->setup->core, &with_hosts, tokens);
        authorization_wake(a);
        return r;
}

/* The identity that came with the tokens has to be the account's own mailbox, and the same as before where it was known. */
static const char *identity_wrong(const Authorization *a, const OauthTokens *tokens)
{
        const Setup *setup = a->setup;
        const Account *account = core_account(setup->core, setup->account_id);
        const char *before = account && account->grant ? grant_subject(account->grant) : NULL;

        if (tokens->email && setup->address &&
            !text_equal_nocase(tokens->email, setup->address->address))
                return tokens->email;
        if (!tokens->email && before && tokens->subject && !text_equal(before, tokens->subject) &&
            text_equal(grant_issuer(account->grant), a->issuer))
                return tokens->subject;
        return NULL;
}

/* Wanted by nobody: the issuer need not keep it. */
static void tokens_return(Authorization *a, OauthTokens *tokens)
{
        if (grant_make(a, tokens) == 0)
                grant_revoke_unref(TAKE(a->grant));
}

static int accept_tokens(Authorization *a, OauthTokens *tokens)
{
        const char *other = identity_wrong(a, tokens);
        _cleanup_free_ char *who = NULL;
        int r;

        if (tokens->audience && !text_equal(tokens->audience, client_id(a)))
                return fail(a, "oauth.client-misconfigured", KEY_REASON,
                            "the identity is for another program");
        if (a->verifier && tokens->nonce && !text_equal(tokens->nonce, a->nonce))
                return fail(a, "oauth.client-misconfigured", KEY_REASON,
                            "the identity answers another question");
        if (tokens->scope && !oauth_scope_covers(tokens->scope, a->scope)) {
                r = text_set(&who, tokens->scope);
                tokens_return(a, tokens);
                return r < 0 ? r : fail(a, "oauth.consent-required", KEY_SCOPES, who);
        }
        if (other) {
                r = text_set(&who, other);
                tokens_return(a, tokens);
                return r < 0 ? r : fail(a, "oauth.wrong-account", KEY_USER, who);
        }
        if (!tokens->refresh)
                return fail(a, "oauth.consent-required", KEY_REASON,
                            "the provider gave no lasting permission (no refresh token)");
        return grant_make(a, tokens);
}

static int redeem_work(void *arg)
{
        Authorization *a = arg;
        _cleanup_(oauth_tokens_deinit) OauthTokens tokens = {};
        OauthServer server = server_of(a);
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = oauth_redeem(&tokens, &server, a->code, a->redirect, a->verifier, &no);
        a->code = secret_unref(a->code);
        if (r == 0)
                r = accept_tokens(a, &tokens);
        else if (r == 1)
                r = fail_outcome(a, &no);
        if (r < 0 && r != -ECANCELED) {
                log_fault(r, "redeeming a code of %s", a->issuer);
                (void) fail(a, "oauth.temporarily-unavailable", KEY_REASON, "this computer failed");
        }
        return 0;
}

/* RFC 8628 section 3.5. Returns 0 to ask again, 1 over, negative errno. */
static int poll_once(Authorization *a, const OauthServer *server, uint64_t *interval_sec)
{
        _cleanup_(oauth_tokens_deinit) OauthTokens tokens = {};
        _cleanup_outcome_ Outcome no = {};
        const char *cause;
        int r;

        r = oauth_device_ask(&tokens, server, a->device.code, &no);
        if (r == 0)
                r = accept_tokens(a, &tokens);
        if (r != 1)
                return r < 0 ? r : 1;
        cause = oauth_judge(&no, NULL);
        /* A server that does not answer is asked less often. */
        if (text_equal(no.code, "slow_down") || text_equal(cause, "oauth.temporarily-unavailable"))
                *interval_sec = MIN(*interval_sec + 5, (uint64_t) INTERVAL_MAX_SEC);
        else if (!text_equal(cause, "oauth.pending"))
                return fail_outcome(a, &no) < 0 ? -ENOMEM : 1;
        return 0;
}

static int poll_work(void *arg)
{
        Authorization *a = arg;
        uint64_t interval_sec = a->device.interval_sec > 0
                                        ? MIN(a->device.interval_sec, (uint64_t) INTERVAL_MAX_SEC)
                                        : INTERVAL_SEC;
        OauthServer server = server_of(a);
        int r = 0;

        while (r == 0) {
                r = fiber_sleep(interval_sec * USEC_PER_SEC);
                if (r == 0 && clock_now() >= a->due_usec)
                        return fail(a, "oauth.device-code-expired", KEY_USER_CODE,
                                    a->device.user_code);
                if (r == 0)
                        r = poll_once(a, &server, &interval_sec);
        }
        if (r < 0 && r != -ECANCELED) {
                log_fault(r, "asking for tokens of %s", a->issuer);
                (void) fail(a, "oauth.temporarily-unavailable", KEY_REASON, "this computer failed");
        }
        return 0;
}

/* --- the redirect ------------------------------------------------------------------------------------------- */

static bool state_is(const Authorization *a, const char *state)
{
        uint8_t difference = 0;

        if (strlen(state) != 2 * STATE_OCTETS || !a->state[0])
                return false;
        for (size_t i = 0; i < 2 * STATE_OCTETS; i++)
                difference |= (uint8_t) (a->state[i] ^ state[i]);
        return difference == 0;
}

/* RFC 9207 section 2.4: where the issuer says that it names itself, it has to; and a name that comes has to be the right one. */
static bool issuer_is(const Authorization *a, const OauthRedirect *redirect)
{
        if (!redirect->has_issuer)
                return !a->metadata.iss_parameter;
        return text_equal(redirect->issuer, a->issuer);
}

/* A redirect that is not ours changes nothing: whoever guesses must not be able to end what the user is doing. */
int authorization_complete(Authorization *a, const char *uri, const char **ret_why)
{
        _cleanup_(oauth_redirect_deinit) OauthRedirect redirect = {};
        Core *core = a->setup->core;
        int r;

        if (!a->redirect || !a->state[0] || clock_now() >= a->due_usec)
                return core_why(core, ret_why, SETUP_STALE, "no sign-in is waited for");
        r = oauth_redirect_read(&redirect, uri, a->redirect);
        if (r == -EXDEV)
                return core_why(core, ret_why, SETUP_INVALID_KEY,
                                "this is not the redirect that was agreed");
        if (r == -EBADMSG)
                return core_why(core, ret_why, SETUP_INVALID_KEY, "the redirect is malformed");
        if (r < 0)
                return r;
        if (!state_is(a, redirect.state))
                return core_why(core, ret_why, SETUP_STALE,
                                "the redirect answers another question");
        if (!issuer_is(a, &redirect))
                return core_why(core, ret_why, SETUP_INVALID_KEY,
                                "the redirect is of another issuer");
        /* Once: the same redirect again is stale. */
        explicit_bzero(a->state, sizeof(a->state));
        if (!redirect.code)
                return MIN(fail(a, oauth_judge_redirect(redirect.error, redirect.description),
                                KEY_REPLY,
                                redirect.description[0] ? redirect.description : redirect.error),
                           0);
        a->code = TAKE(redirect.code);
        return fiber_start(&a->fiber, "redeem", redeem_work, a);
}

/* --- for the administrator ---------------------------------------------------------------------------------- */

static int test_failed(const Outcome *no, Dict *ret)
{
        int r = dict_set_text(ret, KEY_CAUSE, oauth_judge(no, NULL));

        return r < 0 ? r
                     : dict_set_text(ret, KEY_ERROR,
                                     no->text[0] ? no->text : outcome_kind_name(no->kind));
}

int core_test_client(Core *core, const char *issuer, Dict *ret)
{
        _cleanup_(oauth_metadata_deinit) OauthMetadata metadata = {};
        _cleanup_(client_config_deinit) ClientConfig config = {};
        _cleanup_outcome_ Outcome no = {};
        Setup setup = { .core = core };
        Authorization a = { .setup = &setup };
        int r;

        r = client_config_find(&config, core->config->clients_directory, issuer, NULL);
        if (r < 0)
                return r;
        r = config.token ? endpoints_take(&metadata, issuer, config.authorization, config.token,
                                          config.device, config.revocation)
                         : oauth_fetch_metadata(&metadata, core->http, issuer,
                                                core_issuer_policy(core), &no);
        if (r != 0)
                return r < 0 ? r : test_failed(&no, ret);
        /* Borrowed for the description only. */
        a.issuer = config.issuer;
        a.config = config;
        a.metadata = metadata;
        r = scope_choose(&a);
        if (r == 0)
                r = authorization_describe(&a, ret);
        free(a.scope);
        return r;
}
