/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every name of the contract: bus, paths, interfaces, errors, states, step ids, and the closed tables of keys. Shared by the
 * service, the CLI and the tests; documented in dbus/ *.xml. */
#pragma once

#define BUS_NAME "org.waypost.Waypost1"
#define PATH_ROOT "/org/waypost/Waypost1"
#define PATH_SETUP PATH_ROOT "/setup"
#define PATH_ACCOUNT PATH_ROOT "/account"

#define INTERFACE_MANAGER BUS_NAME ".Manager"
#define INTERFACE_SETUP BUS_NAME ".Setup"
#define INTERFACE_ACCOUNT BUS_NAME ".Account"

#define ERROR_PREFIX BUS_NAME ".Error."
#define ERROR_INVALID_ADDRESS ERROR_PREFIX "InvalidAddress"
#define ERROR_INVALID_ARGUMENT ERROR_PREFIX "InvalidArgument" /* the message names the key */
#define ERROR_INVALID_STATE ERROR_PREFIX "InvalidState"
#define ERROR_ACCOUNT_EXISTS ERROR_PREFIX "AccountExists" /* the message ends with the path */
#define ERROR_SECRET_SPACES ERROR_PREFIX "SecretSpaces" /* an app password with blanks in it */
#define ERROR_SECRET_SHAPE ERROR_PREFIX "SecretShape"   /* it cannot be an app password */
#define ERROR_STALE ERROR_PREFIX "Stale"
#define ERROR_QUOTA ERROR_PREFIX "QuotaExceeded"
#define ERROR_NOT_SUPPORTED ERROR_PREFIX "NotSupported"
#define ERROR_NOT_FOUND ERROR_PREFIX "NotFound"
#define ERROR_FAILED ERROR_PREFIX "Failed" /* our own fault: disk, memory */

/* What polkit is asked about. */
#define ACTION_GET_CREDENTIAL BUS_NAME ".get-credential"
#define ACTION_ADMIN_VIEW BUS_NAME ".admin-view"

/* Setup.State */
#define SETUP_RUNNING "running"
#define SETUP_WAITING "waiting"
#define SETUP_READY "ready"
#define SETUP_FAILED "failed"
#define SETUP_SUCCEEDED "succeeded"
#define SETUP_CANCELLED "cancelled"

/* Account.State */
#define ACCOUNT_ACTIVE "active"
#define ACCOUNT_FAILING "failing"
#define ACCOUNT_NEEDS_PASSWORD "needs-password"
#define ACCOUNT_NEEDS_AUTHORIZATION "needs-authorization"
#define ACCOUNT_NEEDS_APPROVAL "needs-approval"
#define ACCOUNT_BLOCKED "blocked"
#define ACCOUNT_PAUSED "paused"

/* Needs */
#define NEED_SERVERS "servers"
#define NEED_SERVER_APPROVAL "server-approval"
#define NEED_CERTIFICATE_APPROVAL "certificate-approval"
#define NEED_PASSWORD "password"
#define NEED_AUTHORIZATION "authorization"
#define NEED_VERIFICATION_CODE "verification-code"
#define NEED_USER_ACTION "user-action"

/* Keys of evidence, needs, candidates, endpoints and options: a closed table. (s) unless another type is given. */
#define KEY_ADDRESS "address"
#define KEY_DOMAIN "domain"
#define KEY_REASON "reason"
#define KEY_SOURCE "source"   /* by-hand, account, administrator, table, pacc, autoconfig, ispdb, srv, mx, http, certificate, guess */
#define KEY_SOURCES "sources" /* as: "srv: 2 servers, 12 ms" */
#define KEY_BY_HAND "by-hand" /* as: the fields of a server that are the user's */
#define KEY_TRUST "trust"     /* user, administrator, table, provider, ispdb, domain, none */
#define KEY_CANDIDATE "candidate"
#define KEY_CANDIDATES "candidates" /* t */
#define KEY_HOST "host"
#define KEY_PORT "port"         /* t */
#define KEY_SECURITY "security" /* tls, starttls, none */
#define KEY_PROTOCOL "protocol" /* pop3, smtp */
#define KEY_USER "user"
#define KEY_ADDRESSES "addresses" /* as */
#define KEY_CANONICAL "canonical"
#define KEY_PEER "peer"
#define KEY_ATTEMPTS "attempts" /* as: "2001:db8::10 refused after 1 ms" */
#define KEY_TLS "tls"           /* "TLSv1.3" */
#define KEY_CIPHER "cipher"
#define KEY_SUBJECT "subject"
#define KEY_ISSUER "issuer"
#define KEY_NAMES "names"           /* as */
#define KEY_NOT_BEFORE "not-before" /* t: microseconds since 1970 */
#define KEY_NOT_AFTER "not-after"   /* t */
#define KEY_DAYS_LEFT "days-left"   /* t */
#define KEY_SPKI "spki-sha256"
#define KEY_VERIFY_ERRORS "verify-errors" /* as */
#define KEY_APPROVED "approved"           /* b */
#define KEY_GREETING "greeting"
#define KEY_CAPABILITIES "capabilities" /* as */
#define KEY_METHOD "method"
#define KEY_METHODS "methods"         /* as */
#define KEY_REFUSALS "refusals"       /* t: how often the server said no to this secret just now */
#define KEY_SASL_STATUS "sasl-status" /* what a server says of a token: "invalid_token", "401" */
#define KEY_SASL_ERROR "sasl-error"   /* and all of its words */
#define KEY_MESSAGES "messages"       /* t */
#define KEY_OCTETS "octets"           /* t */
#define KEY_FOLDERS "folders"         /* as: names in UTF-8, in evidence with their use: "Gesendet (sent)" */
#define KEY_PUSH "push"               /* b: the server tells of new mail by itself */
#define KEY_CAN_DELETE "can-delete"   /* b: single messages can be deleted */
#define KEY_ALERT "alert"             /* s: what the server wants to be shown */
#define KEY_LOGIN_DELAY "login-delay" /* t: seconds */
#define KEY_EXPIRE "expire"           /* t: days */
#define KEY_SENDER "sender"
#define KEY_REPLY "reply"             /* the server's own words */
#define KEY_CODE "code"               /* its machine code */
#define KEY_STATUS "status"           /* t: SMTP or HTTP status */
#define KEY_PHASE "phase"             /* where in the dialogue it happened */
#define KEY_ERROR "error"             /* the system's or a library's words */
#define KEY_FIRST_BYTES "first-bytes" /* what came instead */
#define KEY_SPEAKS "speaks"           /* and what that is: tls, pop3, imap, smtp, ftp, http, ssh, vnc */
/* of a closer look at what failed */
#define KEY_SINCE "since"         /* t: of a running step: microseconds since 1970 */
#define KEY_BUDGET "budget-usec"  /* t: of a running step: when it gives up, from since */
#define KEY_NETWORK "network"     /* what is wrong with this computer's own connection */
#define KEY_CONTROLS "controls"   /* as: what was looked at beside, without secrets: "port 993 (IMAP) answers" */
#define KEY_IPV4 "ipv4"           /* works, or why not; with ipv6 only, where a server has both */
#define KEY_IPV6 "ipv6"
#define KEY_CLOCK "clock"         /* as: who says what time it is */
#define KEY_OFFSET "offset"       /* how far this computer's clock is off: "400 days behind" */
#define KEY_PORTAL "portal"       /* the page where this network wants a sign-in, or who answers for all */
#define KEY_INTERCEPTED "intercepted-by" /* who stands between with a certificate of his own */
#define KEY_SUGGESTED_HOST "suggested-host" /* another name of the same server, that the certificate is for */
#define KEY_KEY "key"             /* the certificate's: "RSA 2048" */
#define KEY_APPROVED_UNTIL "approved-until" /* t: microseconds since 1970, of an exception that was approved */
#define KEY_CHANGED "changed"     /* t: when the server's key became another one; since 1970 */
#define KEY_EXCHANGE "key-exchange" /* the group of the key exchange: "X25519", "DH 1024" */
#define KEY_ACCOUNT "account"
#define KEY_LOCATION "location"
#define KEY_TRAVEL_USEC \
        "travel-usec"         /* t: from the server's acceptance to the mail's being found */
#define KEY_FOUND "found"     /* server, code */
#define KEY_DELETED "deleted" /* b */
#define KEY_TOKEN "token"
#define KEY_SIDE "side"       /* incoming, outgoing */
#define KEY_HOSTS "hosts"     /* as */
#define KEY_DOMAINS "domains" /* as */
#define KEY_HINT_URL "hint-url"
#define KEY_SECRET_KIND "secret-kind" /* password, app-password, authorization */
#define KEY_SECRET_SHAPE "secret-shape" /* "aaaa aaaa": a, A letters, 9 digits, x either */
#define KEY_PROVIDER "provider"       /* id in the provider table */
#define KEY_HINTS "hints"             /* as: what to know before the first failure */
#define KEY_PASSWORD_URL "password-url" /* page where app passwords are made */
#define KEY_OAUTH_ISSUER "oauth-issuer"
#define KEY_FLOW "flow" /* of a sign-in: code, device */
#define FLOW_CODE "code"
#define FLOW_DEVICE "device"
#define KEY_REDIRECT_PORT "redirect-port" /* t */
#define KEY_REDIRECT_HOST "redirect-host" /* 127.0.0.1, ::1 */
#define KEY_REDIRECT_URI "redirect-uri"
#define KEY_URL "url" /* to be opened in a browser */
#define KEY_URL_COMPLETE "url-complete"
#define KEY_USER_CODE "user-code"
#define KEY_EXPIRES "expires" /* t: seconds */
#define KEY_SCOPES "scopes"
#define KEY_SECRET_EXPIRES "secret-expires" /* t: of the administrator's client, microseconds since 1970 */
#define KEY_SUGGESTION "suggestion"   /* the domain that may have been meant */
#define KEY_FILTER "filter"           /* service that mail to the domain passes through */
#define KEY_BETTER "better"           /* pop3, imap: where both were found; hints say why */
#define KEY_ALTERNATIVE "alternative" /* what there is instead */
#define KEY_DISCLOSED "disclosed"     /* as: who was told what */
#define KEY_CAUSE "cause"
#define KEY_ID "id"
#define KEY_INCOMING "incoming" /* a{sv} */
#define KEY_OUTGOING "outgoing" /* a{sv} */
#define KEY_DRY_RUN "dry-run"   /* b */
#define KEY_UNTIL "until"
#define KEY_DETACHED "detached"                       /* b */
#define KEY_RECEIVE_ONLY "receive-only"               /* b */
#define KEY_DELETE_VERIFICATION "delete-verification" /* b */
#define KEY_KEEP "keep"                               /* server, none, 30d */
#define KEY_DELIVERY "delivery"                       /* maildir, lmtp */
#define KEY_INTERVAL "interval"                       /* t: seconds */
#define KEY_DISPLAY_NAME "display-name"
/* of runs */
#define KEY_RUN "run"                 /* t */
#define KEY_STARTED "started"         /* t: microseconds since 1970 */
#define KEY_ENDED "ended"             /* t */
#define KEY_LISTED "listed"           /* t */
#define KEY_FRESH "new"               /* t */
#define KEY_SKIPPED "skipped"         /* t */
#define KEY_DELIVERED "delivered"     /* t */
#define KEY_BYTES "bytes"             /* t */
#define KEY_TOTAL_BYTES "total-bytes" /* t: of the new ones, as announced */
#define KEY_MANUAL "manual"           /* b */
#define KEY_DUPLICATES "duplicates"   /* t: known by their content */
#define KEY_GONE "gone"               /* t: not listed any more */
#define KEY_LEFT "left"               /* t: for the next run */
#define KEY_NOTES "notes"             /* as: causes that did not stop the run */
#define KEY_CHECK "check"             /* of Why */
#define KEY_VERDICT "verdict"         /* passed, warned, failed */
#define KEY_TEXT "text"
#define KEY_RATE "rate"               /* t: octets a second */
#define KEY_REMAINING "remaining"     /* t: seconds, estimated */
#define KEY_STATE "state"             /* of Account.Run: running */
/* of DescribeCause (and Explain) */
#define KEY_TITLE "title"
#define KEY_EXPLANATION "explanation"
#define KEY_REMEDIES "remedies" /* as, in order */
#define KEY_LINKS "links"       /* as */
#define KEY_CLASS "class"       /* user-action, temporary, permanent */
#define KEY_SEVERITY "severity" /* block, degrade, info, ours */
#define KEY_WHO "who"           /* can mend it: user, provider, administrator, nobody, us */
#define KEY_CONFIDENCE "confidence" /* low, medium, high */
#define KEY_SUCCEEDED "succeeded"   /* phases that went well before: "tls login" */
#define KEY_LOCALE "locale"         /* the language wished for */
#define KEY_EVIDENCE "evidence"     /* a{sv}: of the step that named the cause */
