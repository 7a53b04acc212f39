/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See rules.h. Numbers of signs: facts first, then concepts and codes in order of their appearance. A literal with a gap ("not ~ enabled") is two
 * literals; the second counts when the first ended at most GAP words before. */
#include <json-c/json.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "base/text.h"
#include "probe/plain.h"
#include "probe/rules.h"
#include "probe/words.h"

enum { GAP = 3, LITERAL_WORDS = 4, HALVES = 1024, RULE_SIGNS = 48, NAME_MAX_LEN = 48 };

static const char *const fact_names[] = {
        "wire",       "positive", "err",   "no",        "bad",  "bye",
        "4xx",        "5xx",      "pop3",  "imap",      "smtp", "asterisks",
        "other-mail", "not-mail", "clear", "logged-in", "bare", "anywhere",
};
_Static_assert(ELEMENTS(fact_names) == FACT_MAX, "every fact has a name");

typedef struct Name {
        unsigned bit;
        const char *name;
} Name;

static const Name place_names[] = {
        { PLACE_DNS, "dns" },
        { PLACE_CONNECT, "connect" },
        { PLACE_TLS, "tls" },
        { PLACE_GREETING, "greeting" },
        { PLACE_CAPABILITY, "capability" },
        { PLACE_STARTTLS, "starttls" },
        { PLACE_LOGIN, "login" },
        { PLACE_MAILBOX, "mailbox" },
        { PLACE_MAIL, "mail" },
        { PLACE_RCPT, "rcpt" },
        { PLACE_DATA, "data" },
        { PLACE_OAUTH, "oauth" },
        { PLACE_UIDL, "uidl" },
        { PLACE_HANDSHAKE, "handshake" },
};

static const Name speaks_names[] = {
        { SPEAKS_POP3, "pop3" },   { SPEAKS_IMAP, "imap" }, { SPEAKS_SMTP, "smtp" },
        { SPEAKS_OAUTH, "oauth" }, { SPEAKS_TLS, "tls" },   { SPEAKS_DNS, "dns" },
        { SPEAKS_TCP, "tcp" },
};

/* What a literal of the automaton is good for. */
typedef struct Literal {
        uint16_t sign;  /* to set; for the first half of a pair RULES_SIGNS */
        uint16_t half;  /* of the pair that it opens or closes, 0 for none */
        uint8_t blanks; /* in it */
        bool ends_blank;
        uint8_t provider; /* 1 is the first: set instead of a sign */
} Literal;

typedef struct Provider {
        char *name;
        char **names, **hosts;
} Provider;

typedef struct Rule {
        char *cause;
        char *provider; /* as written, for the verdict */
        unsigned place, speaks;
        uint64_t providers; /* 0: for all */
        Confidence confidence;
        uint16_t *codes;   /* any of these, RULES_SIGNS ends; NULL: whatever */
        uint16_t *without; /* none of these */
        uint16_t **
                all; /* any of these lists: all of its signs, RULES_SIGNS + sign for one that must be absent */
        size_t n_all;
} Rule;

struct Rules {
        char *signs[RULES_SIGNS];  /* names: "@wire", "password", "#5.7.8" */
        bool defined[RULES_SIGNS]; /* a concept with words, a code, a fact */
        size_t n_signs;
        Provider providers[RULES_PROVIDERS];
        size_t n_providers;
        Literal *literals;
        size_t n_literals;
        unsigned n_halves;
        Words *words;
        Rule *rules;
        size_t n_rules;
};

/* --- building ------------------------------------------------------------------------------------------------ */

static int why(char **ret_why, const char *what, const char *which)
{
        int r = text_format(ret_why, "%s: %.100s", what, which ?: "?");

        return r < 0 ? r : -EBADMSG;
}

static void rule_clear(Rule *rule)
{
        for (size_t i = 0; i < rule->n_all; i++)
                free(rule->all[i]);
        free(rule->all);
        free(rule->codes);
        free(rule->without);
        free(rule->cause);
        free(rule->provider);
}

Rules *rules_free(Rules *rules)
{
        if (!rules)
                return NULL;
        for (size_t i = 0; i < rules->n_signs; i++)
                free(rules->signs[i]);
        for (size_t i = 0; i < rules->n_providers; i++) {
                free(rules->providers[i].name);
                list_free(rules->providers[i].names);
                list_free(rules->providers[i].hosts);
        }
        for (size_t i = 0; i < rules->n_rules; i++)
                rule_clear(&rules->rules[i]);
        free(rules->rules);
        free(rules->literals);
        words_free(rules->words);
        free(rules);
        return NULL;
}

/* The number of a sign, which is new when nobody has named it before. */
static int sign_number(Rules *rules, const char *name, uint16_t *ret)
{
        size_t i = 0;

        while (i < rules->n_signs && !text_equal(rules->signs[i], name))
                i++;
        if (i == rules->n_signs) {
                if (i == RULES_SIGNS)
                        return -ENOBUFS;
                if (text_set(&rules->signs[i], name) < 0)
                        return -ENOMEM;
                rules->defined[i] = name[0] == '#';
                rules->n_signs++;
        }
        *ret = (uint16_t) i;
        return 0;
}

int rules_new(Rules **ret)
{
        _cleanup_(rules_freep) Rules *rules = calloc(1, sizeof(Rules));
        int r;

        if (!rules)
                return -ENOMEM;
        r = words_new(&rules->words);
        for (size_t i = 0; r == 0 && i < FACT_MAX; i++) {
                char name[NAME_MAX_LEN] = "@";
                uint16_t sign;

                strncat(name, fact_names[i], sizeof(name) - 2);
                r = sign_number(rules, name, &sign);
                if (r == 0)
                        rules->defined[sign] = true;
        }
        if (r < 0)
                return r;
        *ret = TAKE(rules);
        return 0;
}

/* --- literals ------------------------------------------------------------------------------------------------- */

static int literal_add(Rules *rules, const char *text, size_t len, Literal literal)
{
        Literal *larger = reallocarray(rules->literals, rules->n_literals + 1, sizeof(Literal));
        int r;

        if (!larger)
                return -ENOMEM;
        rules->literals = larger;
        for (size_t i = 0; i < len; i++)
                literal.blanks += text[i] == ' ';
        literal.ends_blank = text[len - 1] == ' ';
        r = words_add(rules->words, text, len, (unsigned) rules->n_literals);
        if (r == 0)
                rules->literals[rules->n_literals++] = literal;
        return r;
}

/* One part of a literal as the text will look: blanks at both ends, unless '*' opens that end or the script knows no blanks. */
static int literal_part(Rules *rules, const char *part, size_t len, Literal literal)
{
        char plain[256];
        bool open_front = len > 0 && part[0] == '*', open_back = len > 0 && part[len - 1] == '*';
        size_t n = plain_text(plain, sizeof(plain), part, len), front = 0, words = 0;

        if (n < 3)
                return -EINVAL;
        for (size_t i = 1; i < n; i++)
                words += plain[i] == ' ';
        if (words > LITERAL_WORDS)
                return -EINVAL;
        /* Chinese: no blanks between words. The first byte of U+2E80 and above is 0xe2 or more. */
        open_front = open_front || (unsigned char) plain[1] >= 0xe2;
        open_back = open_back || (unsigned char) plain[1] >= 0xe2;
        if (open_front)
                front = 1;
        if (open_back)
                n--;
        return n > front ? literal_add(rules, plain + front, n - front, literal) : -EINVAL;
}

static int literal_read(Rules *rules, const char *text, Literal literal)
{
        const char *gap = strstr(text, " ~ ");
        int r;

        if (!gap)
                return literal_part(rules, text, strlen(text), literal);
        if (strstr(gap + 1, " ~ ")) /* one gap is enough */
                return -EINVAL;
        if (rules->n_halves + 1 >= HALVES)
                return -ENOBUFS;
        literal.half = (uint16_t) ++rules->n_halves;
        r = literal_part(rules, text, (size_t) (gap - text),
                         (Literal){ .sign = RULES_SIGNS, .half = literal.half });
        return r < 0 ? r : literal_part(rules, gap + 3, strlen(gap + 3), literal);
}

static int literals_read(Rules *rules, json_object *list, Literal literal, const char *name,
                         char **ret_why)
{
        int r;

        if (!json_object_is_type(list, json_type_array))
                return why(ret_why, "not a list of words", name);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                const char *text = json_object_get_string(json_object_array_get_idx(list, i));

                r = literal_read(rules, text ?: "", literal);
                if (r == -EINVAL || r == -ENOBUFS)
                        return why(ret_why, "not one to four words", text);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int concepts_read(Rules *rules, json_object *concepts, char **ret_why)
{
        int r = 0;

        if (!json_object_is_type(concepts, json_type_object))
                return why(ret_why, "not an object", "concepts");
        json_object_object_foreach(concepts, name, list)
        {
                uint16_t sign;

                if (strlen(name) >= NAME_MAX_LEN || strpbrk(name, "@#! "))
                        return why(ret_why, "not a name", name);
                r = sign_number(rules, name, &sign);
                if (r == -ENOBUFS)
                        return why(ret_why, "too many concepts", name);
                if (r == 0)
                        r = literals_read(rules, list, (Literal){ .sign = sign }, name, ret_why);
                if (r < 0)
                        return r;
                rules->defined[sign] = true;
        }
        return 0;
}

/* --- providers ------------------------------------------------------------------------------------------------ */

static int provider_number(Rules *rules, const char *name, uint8_t *ret)
{
        size_t i = 0;

        while (i < rules->n_providers && !text_equal_nocase(rules->providers[i].name, name))
                i++;
        if (i == rules->n_providers) {
                if (i == RULES_PROVIDERS)
                        return -ENOBUFS;
                if (text_set(&rules->providers[i].name, name) < 0)
                        return -ENOMEM;
                rules->n_providers++;
        }
        *ret = (uint8_t) i;
        return 0;
}

static int strings_read(json_object *list, char ***ret)
{
        int r = 0;

        if (list && !json_object_is_type(list, json_type_array))
                return -EBADMSG;
        for (size_t i = 0; list && r == 0 && i < json_object_array_length(list); i++) {
                const char *text = json_object_get_string(json_object_array_get_idx(list, i));

                r = text ? list_append(ret, text, LIMIT_DICTIONARY) : -EBADMSG;
        }
        return r;
}

static json_object *member(json_object *object, const char *key)
{
        json_object *value = NULL;

        (void) json_object_object_get_ex(object, key, &value);
        return value;
}

static int provider_read(Rules *rules, const char *name, json_object *object, char **ret_why)
{
        json_object *words = member(object, "words");
        uint8_t number;
        int r;

        r = provider_number(rules, name, &number);
        if (r == -ENOBUFS)
                return why(ret_why, "too many providers", name);
        if (r == 0)
                r = strings_read(member(object, "names"), &rules->providers[number].names);
        if (r == 0)
                r = strings_read(member(object, "hosts"), &rules->providers[number].hosts);
        if (r == -EBADMSG || r == -ENOBUFS)
                return why(ret_why, "not a list of names", name);
        if (r == 0 && words)
                r = literals_read(
                        rules, words,
                        (Literal){ .sign = RULES_SIGNS, .provider = (uint8_t) (number + 1) }, name,
                        ret_why);
        return r;
}

static int providers_read(Rules *rules, json_object *providers, char **ret_why)
{
        int r;

        json_object_object_foreach(providers, name, object)
        {
                r = provider_read(rules, name, object, ret_why);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- rules ---------------------------------------------------------------------------------------------------- */

static int names_read(json_object *list, const Name *names, size_t n, unsigned *ret)
{
        unsigned bits = 0;

        for (size_t i = 0; i < json_object_array_length(list); i++) {
                const char *text = json_object_get_string(json_object_array_get_idx(list, i));
                size_t k = 0;

                while (k < n && !text_equal(names[k].name, text))
                        k++;
                if (k == n)
                        return -EBADMSG;
                bits |= names[k].bit;
        }
        *ret = bits;
        return 0;
}

/* "password wrong !temporary" as numbers; a '!' adds RULES_SIGNS. RULES_SIGNS itself ends the list: sign 0 is never unwanted. */
static int expression_read(Rules *rules, const char *text, uint16_t **ret)
{
        _cleanup_free_ uint16_t *signs = calloc(RULE_SIGNS + 1, sizeof(*signs));
        char name[NAME_MAX_LEN];
        size_t n = 0;
        int r;

        if (!signs)
                return -ENOMEM;
        for (const char *p = text + strspn(text, " "); *p; p += strspn(p, " ")) {
                bool absent = *p == '!';
                size_t len = strcspn(p += absent, " ");
                uint16_t sign;

                if (n == RULE_SIGNS || len == 0 || len >= sizeof(name))
                        return -EBADMSG;
                memcpy(name, p, len);
                name[len] = '\0';
                r = sign_number(rules, name, &sign);
                if (r < 0)
                        return r;
                signs[n++] = (uint16_t) (sign + (absent ? RULES_SIGNS + 1 : 0));
                p += len;
        }
        if (n == 0)
                return -EBADMSG;
        signs[n] = RULES_SIGNS;
        *ret = TAKE(signs);
        return 0;
}

/* Codes and statuses: "AUTH", "5.7.8", "535". */
static int codes_read(Rules *rules, json_object *list, uint16_t **ret)
{
        size_t n = json_object_array_length(list);
        _cleanup_free_ uint16_t *signs = calloc(n + 1, sizeof(*signs));
        char name[NAME_MAX_LEN] = "#";
        int r = 0;

        if (!signs)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < n; i++) {
                const char *text = json_object_get_string(json_object_array_get_idx(list, i));

                if (!text || strlen(text) >= sizeof(name) - 1)
                        return -EBADMSG;
                memcpy(name + 1, text, strlen(text) + 1);
                r = sign_number(rules, name, &signs[i]);
        }
        signs[n] = RULES_SIGNS;
        if (r == 0)
                *ret = TAKE(signs);
        return r;
}

static int rule_providers(Rules *rules, json_object *list, Rule *rule)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
                const char *text = json_object_get_string(json_object_array_get_idx(list, i));
                uint8_t number;

                r = text ? provider_number(rules, text, &number) : -EBADMSG;
                if (r == 0)
                        rule->providers |= UINT64_C(1) << number;
                if (r == 0 && i == 0)
                        r = text_set(&rule->provider, text);
        }
        return r;
}

static int rule_words(Rules *rules, json_object *list, Rule *rule)
{
        size_t n = json_object_array_length(list);
        int r = 0;

        rule->all = calloc(MAX(n, (size_t) 1), sizeof(*rule->all));
        if (!rule->all)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < n; i++) {
                const char *text = json_object_get_string(json_object_array_get_idx(list, i));

                r = text ? expression_read(rules, text, &rule->all[i]) : -EBADMSG;
                rule->n_all += r == 0;
        }
        return r;
}

static int confidence_read(const char *text, Confidence *ret)
{
        for (unsigned i = CONFIDENCE_LOW; i <= CONFIDENCE_HIGH; i++)
                if (text_equal(text, confidence_name((Confidence) i))) {
                        *ret = (Confidence) i;
                        return 0;
                }
        return -EBADMSG;
}

static int rule_member(Rules *rules, const char *key, json_object *value, Rule *rule)
{
        bool list = json_object_is_type(value, json_type_array);

        if (text_equal(key, "cause"))
                return text_set(&rule->cause, json_object_get_string(value));
        if (text_equal(key, "confidence"))
                return confidence_read(json_object_get_string(value), &rule->confidence);
        if (text_equal(key, "not"))
                return json_object_is_type(value, json_type_string) && !rule->without
                               ? expression_read(rules, json_object_get_string(value),
                                                 &rule->without)
                               : -EBADMSG;
        if (list && text_equal(key, "phase"))
                return names_read(value, place_names, ELEMENTS(place_names), &rule->place);
        if (list && text_equal(key, "protocol"))
                return names_read(value, speaks_names, ELEMENTS(speaks_names), &rule->speaks);
        if (list && text_equal(key, "provider"))
                return rule_providers(rules, value, rule);
        if (list && text_equal(key, "code") && !rule->codes)
                return codes_read(rules, value, &rule->codes);
        if (list && text_equal(key, "words") && !rule->all)
                return rule_words(rules, value, rule);
        return text_equal(key, "note") ? 0 : -EBADMSG;
}

static int rule_read(Rules *rules, json_object *object, char **ret_why)
{
        Rule *larger = reallocarray(rules->rules, rules->n_rules + 1, sizeof(Rule)), *rule;
        int r = 0;

        if (!larger)
                return -ENOMEM;
        rules->rules = larger;
        rule = &rules->rules[rules->n_rules++];
        *rule = (Rule){ .place = PLACE_ANY, .speaks = SPEAKS_ANY, .confidence = CONFIDENCE_MEDIUM };
        if (!json_object_is_type(object, json_type_object))
                return why(ret_why, "not an object", "rule");
        json_object_object_foreach(object, key, value)
        {
                r = rule_member(rules, key, value, rule);
                if (r == -EBADMSG || r == -ENOBUFS)
                        return why(ret_why, "cannot be understood",
                                   json_object_to_json_string(object));
                if (r < 0)
                        return r;
        }
        return rule->cause ? 0 : why(ret_why, "no cause", json_object_to_json_string(object));
}

static int document_read(Rules *rules, json_object *root, char **ret_why)
{
        json_object *list = NULL;
        int r = 0;

        if (!json_object_is_type(root, json_type_object))
                return why(ret_why, "not an object", "document");
        json_object_object_foreach(root, key, value)
        {
                if (text_equal(key, "concepts"))
                        r = concepts_read(rules, value, ret_why);
                else if (text_equal(key, "providers") &&
                         json_object_is_type(value, json_type_object))
                        r = providers_read(rules, value, ret_why);
                else if (text_equal(key, "rules") && json_object_is_type(value, json_type_array))
                        list = value;
                else
                        r = why(ret_why, "not known here", key);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; list && r == 0 && i < json_object_array_length(list); i++)
                r = rule_read(rules, json_object_array_get_idx(list, i), ret_why);
        return r;
}

int rules_add(Rules *rules, const char *json, size_t len, char **ret_why)
{
        json_tokener *tokener = json_tokener_new_ex(LIMIT_DEPTH);
        json_object *root;
        int r;

        if (!tokener)
                return -ENOMEM;
        if (len > INT_MAX)
                len = 0;
        root = json_tokener_parse_ex(tokener, json, (int) len);
        if (!root)
                r = why(ret_why, "not JSON",
                        json_tokener_error_desc(json_tokener_get_error(tokener)));
        else
                r = document_read(rules, root, ret_why);
        json_object_put(root);
        json_tokener_free(tokener);
        return r;
}

int rules_compile(Rules *rules, char **ret_why)
{
        for (size_t i = 0; i < rules->n_signs; i++)
                if (!rules->defined[i])
                        return why(ret_why, "a rule names what is not defined", rules->signs[i]);
        return words_compile(rules->words);
}

/* --- seeing --------------------------------------------------------------------------------------------------- */

static void sign_set(Signs *signs, unsigned sign)
{
        signs->seen[sign / 64] |= UINT64_C(1) << (sign % 64);
}

static bool sign_seen(const Signs *signs, unsigned sign)
{
        return signs->seen[sign / 64] >> (sign % 64) & 1;
}

void rules_set_fact(Signs *signs, Fact fact)
{
        sign_set(signs, fact);
}

bool rules_fact_seen(const Signs *signs, Fact fact)
{
        return sign_seen(signs, fact);
}

void rules_see_code(const Rules *rules, Signs *signs, const char *code, size_t len)
{
        for (size_t i = FACT_MAX; i < rules->n_signs; i++)
                if (rules->signs[i][0] == '#' && strlen(rules->signs[i] + 1) == len &&
                    strncasecmp(rules->signs[i] + 1, code, len) == 0)
                        sign_set(signs, (unsigned) i);
}

typedef struct Seeing {
        const Rules *rules;
        Signs *signs;
        int ended[HALVES]; /* the word at which the first half of a pair ended last */
} Seeing;

static void literal_seen(void *userdata, unsigned id, unsigned blanks)
{
        Seeing *seeing = userdata;
        const Literal *literal = &seeing->rules->literals[id];
        int start = (int) blanks - literal->blanks, end = (int) blanks - literal->ends_blank;

        if (literal->half && literal->sign == RULES_SIGNS && !literal->provider) {
                seeing->ended[literal->half] = end;
                return;
        }
        if (literal->half &&
            (start < seeing->ended[literal->half] || start - seeing->ended[literal->half] > GAP))
                return;
        if (literal->provider)
                seeing->signs->providers |= UINT64_C(1) << (literal->provider - 1);
        else
                sign_set(seeing->signs, literal->sign);
}

void rules_see_text(const Rules *rules, Signs *signs, const char *plain, size_t len)
{
        Seeing seeing = { .rules = rules, .signs = signs };

        for (size_t i = 0; i <= rules->n_halves; i++)
                seeing.ended[i] = -2 * PLAIN_MAX;
        words_scan(rules->words, plain, len, literal_seen, &seeing);
}

void rules_see_provider(const Rules *rules, Signs *signs, const char *name)
{
        for (size_t i = 0; name && i < rules->n_providers; i++)
                if (text_equal_nocase(rules->providers[i].name, name) ||
                    list_contains_nocase(rules->providers[i].names, name))
                        signs->providers |= UINT64_C(1) << i;
}

static bool host_belongs(const char *host, const char *suffix)
{
        size_t n = strlen(host), k = strlen(suffix);

        return text_ends_nocase(host, suffix) && (n == k || host[n - k - 1] == '.');
}

void rules_see_host(const Rules *rules, Signs *signs, const char *host)
{
        for (size_t i = 0; host && i < rules->n_providers; i++)
                for (size_t k = 0; k < list_len(rules->providers[i].hosts); k++)
                        if (host_belongs(host, rules->providers[i].hosts[k]))
                                signs->providers |= UINT64_C(1) << i;
}

/* --- judging -------------------------------------------------------------------------------------------------- */

static bool any_seen(const Signs *signs, const uint16_t *list)
{
        for (; *list != RULES_SIGNS; list++)
                if (sign_seen(signs, *list))
                        return true;
        return false;
}

static bool all_seen(const Signs *signs, const uint16_t *list)
{
        for (; *list != RULES_SIGNS; list++)
                if (*list > RULES_SIGNS ? sign_seen(signs, *list - RULES_SIGNS - 1)
                                        : !sign_seen(signs, *list))
                        return false;
        return true;
}

static bool rule_holds(const Rule *rule, const Signs *signs)
{
        if (!(rule->place & signs->place) || !(rule->speaks & signs->speaks))
                return false;
        if (rule->providers && !(rule->providers & signs->providers))
                return false;
        if (rule->codes && !any_seen(signs, rule->codes))
                return false;
        if (rule->without && any_seen(signs, rule->without))
                return false;
        for (size_t i = 0; i < rule->n_all; i++)
                if (all_seen(signs, rule->all[i]))
                        return true;
        return rule->n_all == 0;
}

bool rules_judge(const Rules *rules, const Signs *signs, RulesVerdict *ret)
{
        for (size_t i = 0; i < rules->n_rules; i++)
                if (rule_holds(&rules->rules[i], signs)) {
                        *ret = (RulesVerdict){ .cause = rules->rules[i].cause,
                                               .provider = rules->rules[i].provider,
                                               .confidence = rules->rules[i].confidence,
                                               .rule = (unsigned) i };
                        return true;
                }
        return false;
}

const char *rules_cause_at(const Rules *rules, size_t index)
{
        return index < rules->n_rules ? rules->rules[index].cause : NULL;
}

const char *confidence_name(Confidence confidence)
{
        static const char *const names[] = { "low", "medium", "high" };

        return names[confidence];
}
