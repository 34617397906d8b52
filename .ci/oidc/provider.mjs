// A certified OpenID provider for tests/it/single_sign_on_real.rs: node provider.mjs PORT CALLBACK BACKCHANNEL
// Whoever logs in as `anna` or `bert`, with any password, is in the groups below.
import Provider from 'oidc-provider';

const [port, callback, backchannel] = process.argv.slice(2);
const groups = { anna: ['looks'], bert: ['strangers'] };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'bangui',
    client_secret: 'a secret of & and = and %',
    redirect_uris: [callback],
    response_types: ['code'],
    grant_types: ['authorization_code'],
    backchannel_logout_uri: backchannel,
    backchannel_logout_session_required: true,
  }],
  scopes: ['openid', 'profile', 'groups'],
  claims: { openid: ['sub', 'sid'], profile: ['preferred_username'], groups: ['groups'] },
  // As in the standard: with a code, most claims are at the userinfo endpoint only.
  conformIdTokenClaims: true,
  pkce: { required: () => true },
  features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: groups[id] ?? [] }),
  }),
  cookies: { keys: ['only for tests'] },
});
for (const event of ['backchannel.error', 'server_error', 'authorization.error', 'grant.error']) {
  provider.on(event, (...args) => console.error(event, ...args.filter((one) => one instanceof Error)));
}
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'));
