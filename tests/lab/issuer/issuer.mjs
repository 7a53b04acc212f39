// SPDX-License-Identifier: LGPL-2.1-or-later
// The OpenID provider of the lab: issuer.mjs SETTINGS.json. Everybody may sign in under any name with any password. Beside what such a
// provider has it obeys the test: POST /lab/revoke?user=NAME ends all that was granted to NAME before.
import fs from 'node:fs'
import https from 'node:https'
import { Provider } from 'oidc-provider'

const settings = JSON.parse(fs.readFileSync(process.argv[2]))
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code', MAIL = 'urn:ietf:params:oauth:scope:mail'
const revoked = new Map()

function now() {
  return Math.floor(Date.now() / 1000)
}

function account(ctx, id, token) {
  // A token of a moment that has been revoked belongs to nobody.
  if (token && revoked.has(id) && (token.loginTs ?? token.iat) <= revoked.get(id)) return undefined
  const email = settings.aliases?.[id] ?? id
  return { accountId: id, claims: async () => ({ sub: id, email }) }
}

const provider = new Provider(settings.issuer, {
  clients: [
    { client_id: 'waypost', application_type: 'native', token_endpoint_auth_method: 'none', response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]/callback'], grant_types: ['authorization_code', 'refresh_token', DEVICE] },
    { client_id: 'confidential', client_secret: settings.secret, application_type: 'native', response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/callback'], grant_types: ['authorization_code', 'refresh_token'] },
    { client_id: 'dovecot', client_secret: 'dovecot-secret', redirect_uris: [], response_types: [], grant_types: [] }],
  scopes: ['openid', 'offline_access', 'email', 'mail', MAIL],
  claims: { openid: ['sub'], email: ['email'] },
  conformIdTokenClaims: false,
  cookies: { keys: ['lab'] },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: { AccessToken: settings.accessTokenSeconds, RefreshToken: 3600, DeviceCode: settings.deviceCodeSeconds, IdToken: 300, Interaction: 300,
    Session: 3600, Grant: 3600 },
  findAccount: account,
  extraTokenClaims: async (ctx, token) => ({ email: settings.aliases?.[token.accountId] ?? token.accountId }),
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    registration: { enabled: settings.registration },
    introspection: { enabled: true, allowedPolicy: async (ctx, client) => client.clientId === 'dovecot' } }
})

function note(...words) {
  console.log(...words)
}

for (const name of ['authorization.error', 'server_error'])
  provider.on(name, (ctx, error) => note(name, error?.error_detail ?? error))
provider.on('grant.error', (ctx, error) => note('refused', ctx.oidc.params?.grant_type, error.message, error.error_detail ?? ''))
provider.on('grant.success', (ctx) => note('granted', ctx.oidc.params.grant_type, ctx.oidc.client.clientId))
provider.on('grant.revoked', (ctx, id) => note('grant-revoked', id))
provider.on('refresh_token.destroyed', () => note('refresh-token-destroyed'))
provider.on('registration_create.success', (ctx, client) => note('registered', client.clientId))

const answer = provider.callback()
https.createServer({ cert: fs.readFileSync(settings.cert), key: fs.readFileSync(settings.key) }, (request, response) => {
  const url = new URL(request.url, settings.issuer)
  if (url.pathname === '/lab/revoke') {
    revoked.set(url.searchParams.get('user'), now())
    return response.end()
  }
  return answer(request, response)
}).listen(settings.port, settings.address, () => note('ready'))
