// A token service: the certified OpenID provider (npm oidc-provider), with tokens that live for a few seconds.
//
//     node oidc.mjs LIFE_SECS
//
// Prints `ready PORT` once it listens on a free port of 127.0.0.1, and ends when its standard input is closed.
//   POST /token         client_credentials, refresh_token; client lead-engine / s3cret, in the body or in the header
//   POST /api           takes the lead that it is sent if its token is valid, else answers 401
//   GET  /count         how often /token was asked, how often with the client in the header, and how many leads were taken
//   GET  /valid         200 if the token in the header is valid, else 401
//   POST /revoke        ends every access token given out so far
//   POST /refresh       a refresh token, as the agreement of a person would give it
//   POST /down, /up     /token answers 503 meanwhile
// Refresh tokens rotate: each is good for one use, and using one twice ends them all.
import Provider from 'oidc-provider';
import http from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';

const life = Number(process.argv[2]);
const resource = 'https://crm.example';

const jwk = () => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: randomUUID(), use: 'sig', alg: 'RS256',
});

const make = (issuer) => new Provider(issuer, {
  jwks: { keys: [jwk()] },
  cookies: { keys: ['only for tests'] },
  clients: [{
    client_id: 'lead-engine', client_secret: 's3cret', token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['client_credentials', 'refresh_token', 'authorization_code'],
    redirect_uris: ['https://app.example/back'], response_types: ['code'],
  }],
  scopes: ['api:write', 'offline_access'],
  rotateRefreshToken: true,
  ttl: { AccessToken: life, ClientCredentials: life, Grant: 3600, RefreshToken: 3600 },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'api:write', audience: resource, accessTokenTTL: life, accessTokenFormat: 'opaque' }),
    },
  },
});

let provider, down = false, asked = 0, byHeader = 0, taken = 0, given = [];
const revoked = new Set();

// What the person's agreement would leave behind.
async function refreshToken() {
  const client = await provider.Client.find('lead-engine');
  const grant = new provider.Grant({ accountId: 'jane', clientId: client.clientId });
  grant.addOIDCScope('openid offline_access');
  grant.addResourceScope(resource, 'api:write');
  const grantId = await grant.save();
  const token = new provider.RefreshToken({
    accountId: 'jane', client, grantId, gty: 'authorization_code', scope: 'openid offline_access api:write', resource,
    rotations: 0,
  });
  return token.save();
}

async function isValid(header = '') {
  const value = header.replace(/^Bearer /, '');
  const found = await provider.ClientCredentials.find(value) || await provider.AccessToken.find(value);
  return Boolean(found && found.isValid && !revoked.has(found.jti));
}

const server = http.createServer(async (request, response) => {
  const answer = (status, body = '', headers = {}) =>
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers }).end(body);
  switch (request.url) {
    case '/count': return answer(200, JSON.stringify({ asked, by_header: byHeader, taken }), { 'content-type': 'application/json' });
    case '/revoke': given.forEach((id) => revoked.add(id)); return answer(204);
    case '/valid': return answer(await isValid(request.headers.authorization) ? 200 : 401);
    case '/refresh': return answer(200, await refreshToken());
    case '/down': down = true; return answer(204);
    case '/up': down = false; return answer(204);
    case '/api': {
      if (!await isValid(request.headers.authorization)) return answer(401);
      taken += 1;
      return answer(201, '{"id": 1}', { 'content-type': 'application/json' });
    }
    case '/token':
      asked += 1;
      if (request.headers.authorization) byHeader += 1;
      if (down) return answer(503);
  }
  return provider.callback()(request, response);
});

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  provider = make(`http://127.0.0.1:${port}`);
  for (const kind of ['client_credentials', 'access_token']) provider.on(`${kind}.saved`, (token) => given.push(token.jti));
  console.log('ready', port);
});
process.stdin.resume().on('end', () => process.exit(0));
