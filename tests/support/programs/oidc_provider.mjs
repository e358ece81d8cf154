// A real OpenID provider, for the tests of sign-in: node oidc_provider.mjs MODULES
// Whoever comes with the header X-Account is signed in as that account; X-Groups of the last one are the account's groups.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { createServer } from 'node:http'
import { generateKeyPairSync } from 'node:crypto'

const load = createRequire(pathToFileURL(process.argv[2] + '/'))
const { default: Provider } = await import(pathToFileURL(load.resolve('oidc-provider')))
console.info = console.warn = () => {}
const groups = new Map()
const server = createServer()
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const issuer = `http://127.0.0.1:${server.address().port}`

const key = (kind, options, kid) => ({ ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), kid, use: 'sig' })
const keys = [key('rsa', { modulusLength: 2048 }, 'rsa'), key('ec', { namedCurve: 'P-256' }, 'ec'), key('ed25519', {}, 'ed')]

const provider = new Provider(issuer, {
  jwks: { keys },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'Ed25519', 'HS256'] },
  cookies: { keys: ['a key of the tests'] },
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email', 'email_verified'] },
  pkce: { required: () => true },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  ttl: { Session: 3600, Grant: 3600, AccessToken: 600, IdToken: 600, Interaction: 600 },
  // The provider's own fetch calls no address of this machine, where the application of a test is.
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  async findAccount(ctx, id) {
    return { accountId: id, claims: () => ({ sub: id, preferred_username: id, email: `${id}@example.org`, email_verified: true, groups: groups.get(id) || [] }) }
  },
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId })
    grant.addOIDCScope('openid profile email')
    await grant.save()
    return grant
  },
})
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next()
  const account = ctx.get('X-Account')
  if (ctx.get('X-Groups')) groups.set(account, ctx.get('X-Groups').split(',').filter((group) => group !== '-'))
  const result = account ? { login: { accountId: account } } : { error: 'access_denied' }
  return provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false })
})
server.on('request', provider.callback())
console.log(server.address().port)
process.stdin.resume().on('end', () => process.exit())
