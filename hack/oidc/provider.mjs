// An OpenID provider for tests and the demo: the certified oidc-provider, with clients that
// get access tokens by client credentials. Tokens are JWTs as RFC 9068 has them, bound to the
// client's certificate (RFC 8705) where the client is configured so.
//
//   node provider.mjs MODULES CONFIGURATION
//
// MODULES is the node_modules folder of `npm ci`. CONFIGURATION is a JSON file, described at
// type configuration in test/oidcprovider/config.go. It is read again, with the keys and the
// certificate, on SIGHUP: what is served changes between two requests, without a restart.
//
// Standard output has one line of JSON per configuration in force, such as
//   {"configuration":1,"address":"127.0.0.1:40123"}
// and standard error is the log. A configuration that cannot be used ends the process.
import * as crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as https from 'node:https';
import { isIPv4 } from 'node:net';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

if (typeof crypto.hash !== 'function' || typeof URL.parse !== 'function') {
  throw new Error(`oidc-provider needs Node.js 20.19 or newer; this is ${process.version}`);
}
const [modules, file] = process.argv.slice(2);
// By its path: a module is otherwise looked for beside this file, where none is.
const { Provider } = await import(pathToFileURL(resolve(modules, 'oidc-provider/lib/index.js')).href);

const authMethods = { basic: 'client_secret_basic', body: 'client_secret_post', tls: 'tls_client_auth' };

const read = () => JSON.parse(readFileSync(file, 'utf8'));

// onLoopback splits an address, and refuses one that others could reach.
function onLoopback(address) {
  const [host, port] = address.split(':');
  if (!isIPv4(host) || !host.startsWith('127.')) {
    throw new Error(`listen ${address}: only addresses in 127.0.0.0/8 are served`);
  }
  return { host, port: Number(port) };
}

const tlsOptions = (config) => ({
  cert: readFileSync(config.certificateFile),
  key: readFileSync(config.keyFile),
  ca: readFileSync(config.clientCAFile),
  minVersion: 'TLSv1.2',
});

// metadataOf is a client as RFC 7591 describes it.
function metadataOf(client) {
  if (!(client.auth in authMethods)) {
    throw new Error(`client ${client.id}: unknown method ${client.auth}`);
  }
  return {
    client_id: client.id,
    client_secret: client.auth === 'tls' ? undefined : client.secret,
    token_endpoint_auth_method: authMethods[client.auth],
    tls_client_auth_san_dns: client.auth === 'tls' ? client.dnsName : undefined,
    tls_client_certificate_bound_access_tokens: client.bound,
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    scope: client.scopes.join(' ') || undefined,
  };
}

// certificateOf is the verified certificate that came with a request; undefined: none.
const certificateOf = (ctx) => (ctx.socket.authorized ? ctx.socket.getPeerX509Certificate() : undefined);

const hasName = (certificate, name) => (certificate?.subjectAltName ?? '').split(', ').includes(`DNS:${name}`);

async function providerOf(config, issuer) {
  const clients = new Map(config.clients.map((client) => [client.id, client]));
  const lifetimeOf = (id) => clients.get(id)?.lifetimeSeconds || config.lifetimeSeconds;
  const provider = new Provider(issuer, {
    clients: config.clients.map(metadataOf),
    jwks: config.jwks,
    scopes: config.scopes,
    clientAuthMethods: Object.values(authMethods),
    responseTypes: [],
    ttl: { ClientCredentials: (_ctx, _token, client) => lifetimeOf(client.clientId) },
    extraTokenClaims: (_ctx, token) => clients.get(token.clientId)?.claims ?? undefined,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => config.resource,
        getResourceServerInfo: (_ctx, _resource, client) => ({
          audience: config.audience,
          scope: config.scopes.join(' '),
          accessTokenFormat: 'jwt',
          accessTokenTTL: lifetimeOf(client.clientId),
          jwt: { sign: { alg: clients.get(client.clientId)?.algorithm || config.algorithm } },
        }),
      },
      mTLS: {
        enabled: true,
        tlsClientAuth: true,
        certificateBoundAccessTokens: true,
        getCertificate: (ctx) => certificateOf(ctx)?.toString(),
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns'
          && hasName(certificateOf(ctx), expected),
      },
    },
  });
  provider.on('server_error', (_ctx, error) => console.error(error));
  provider.on('grant.error', (ctx, error) => console.error(`client ${ctx.oidc?.client?.clientId}: ${error.message}: ${error.error_detail ?? error.error_description}`));
  // Clients are looked at when they come first; whoever configured a bad one wants to know now.
  await Promise.all(config.clients.map((client) => provider.Client.find(client.id)));
  return provider.callback();
}

const first = read();
let answer; // of the configuration in force
const server = https.createServer(
  { ...tlsOptions(first), requestCert: true, rejectUnauthorized: false }, // a certificate is asked for, never demanded
  (request, response) => answer(request, response),
);

async function enforce(config) {
  const { address, port } = server.address();
  answer = await providerOf(config, `https://${address}:${port}`);
  process.stdout.write(`${JSON.stringify({ configuration: config.configuration, address: `${address}:${port}` })}\n`);
}

server.listen(onLoopback(first.listen), () => enforce(first));
process.on('SIGHUP', async () => {
  const config = read();
  server.setSecureContext(tlsOptions(config));
  await enforce(config);
});
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});
