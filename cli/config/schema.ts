import { ruleOptions } from '@fleetgate/broker';
import Type, { type Static } from 'typebox';

/**
 * The configuration file, `fleetgate.yaml`: every key is optional and has its default here. Keys are snake_case
 * with the unit last. The table of docs/configuration.md is made from it by
 * `npm run docs:reference`: descriptions are Markdown.
 */

const closed = { additionalProperties: false };
const host = (address: string) =>
  Type.String({ minLength: 1, default: address, description: 'address to listen on' });
const port = (number: number) =>
  Type.Integer({ minimum: 0, maximum: 65_535, default: number, description: 'port; 0 picks a free one' });
const file = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));
const url = (description: string) => Type.Optional(Type.String({ pattern: '^https?://', description }));
const limit = (value: number, maximum: number, description: string) =>
  Type.Integer({ minimum: 1, maximum, default: value, description });
const signingAlgorithm = Type.Enum(['ES256', 'EdDSA', 'RS256']);

const tokenTarget = Type.Object(
  {
    audience: Type.String({ minLength: 1, description: 'audience of the tokens that hold its claim' }),
    target: Type.Enum(['rabbitmq', 'emqx'], { description: 'rabbitmq or emqx' }),
    policy_file: file('topic policy that is compiled; default: that of broker.policy_file'),
    claim: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        description: 'claim it reads; default: `extra_scopes` for rabbitmq, `acl` for emqx',
      }),
    ),
    accept_not_enforced: Type.Array(Type.Enum([...ruleOptions]), {
      maxItems: 4,
      default: [],
      description: 'options that rules may have though it does not hold clients to them',
    }),
    vhost: Type.Optional(
      Type.String({ minLength: 1, maxLength: 255, description: 'virtual host of rabbitmq; default: `/`' }),
    ),
    exchange: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 255,
        description: 'exchange of the MQTT plugin of rabbitmq; default: `amq.topic`',
      }),
    ),
    scope_prefix: Type.Optional(
      Type.String({
        maxLength: 255,
        description: 'what rabbitmq takes off its scopes; default: the audience and a dot',
      }),
    ),
  },
  closed,
);

const issuer = Type.Object(
  {
    url: url('the `iss` of tokens; default: follows the HTTP listener; https unless loopback'),
    http: Type.Object(
      {
        host: host('127.0.0.1'),
        port: port(8080),
        tls_cert_file: file('certificate chain, PEM'),
        tls_key_file: file('private key, PEM'),
        tls_client_ca_file: file('authorities of client certificates, PEM'),
      },
      { ...closed, default: {} },
    ),
    coap: Type.Object(
      {
        host: host('127.0.0.1'),
        port: Type.Integer({
          minimum: 0,
          maximum: 65_535,
          default: 5683,
          description: 'UDP port; 0 picks a free one',
        }),
        enabled: Type.Boolean({
          default: true,
          description: 'whether the token endpoint is served over CoAP',
        }),
      },
      { ...closed, default: {} },
    ),
    database: Type.String({
      pattern: '^(sqlite:.+|postgres(ql)?://.+)',
      default: 'sqlite:fleetgate.db',
      description:
        'registry: `sqlite:FILE`, a relative path being in the data directory, or `postgres://USER@HOST:PORT/DATABASE?schema=NAME`, which several issuers may share',
    }),
    token_lifetime_seconds: Type.Integer({
      minimum: 1,
      maximum: 86_400,
      default: 900,
      description: 'lifetime of access tokens where the client has none of its own',
    }),
    max_token_lifetime_seconds: Type.Integer({
      minimum: 1,
      maximum: 86_400,
      default: 86_400,
      description:
        'longest lifetime a client may be registered with; see [issuer](issuer.md#what-a-token-grants)',
    }),
    token_claims: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
      maxItems: 16,
      default: [],
      description:
        'fields of client metadata that become claims of its tokens; see [issuer](issuer.md#what-a-token-grants)',
    }),
    token_targets: Type.Array(tokenTarget, {
      maxItems: 16,
      default: [],
      description:
        'brokers of another make whose tokens hold a claim that is compiled from a policy; see [engines](engines.md)',
    }),
    signing_algorithm: Type.Enum(['ES256', 'EdDSA', 'RS256'], {
      default: 'ES256',
      description: 'ES256, EdDSA or RS256',
    }),
    key_rotation_days: Type.Integer({
      minimum: 1,
      maximum: 3650,
      default: 30,
      description: 'age at which a signing key is replaced; see [operations](operations.md#signing-keys)',
    }),
    key_encryption_key_file: file(
      'the 32 bytes that encrypt the signing keys, mode 0600; default: key-encryption.key in the data directory; or `FLEETGATE_KEY_ENCRYPTION_KEY`',
    ),
    audit_retention_days: Type.Integer({
      minimum: 0,
      maximum: 36_500,
      default: 365,
      description: 'age at which rows of the audit trail are deleted; 0 keeps all',
    }),
    limits: Type.Object(
      {
        max_client_tokens_per_second: limit(
          100,
          1_000_000,
          'tokens of one client, and revocations by it; in bursts five times that',
        ),
        max_address_requests_per_second: limit(
          2000,
          1_000_000,
          'token requests from one address; in bursts five times that',
        ),
        max_address_connections: limit(
          1000,
          10_000,
          'open connections from one address; those beyond are closed',
        ),
      },
      { ...closed, default: {} },
    ),
    enrollment_hook: Type.Optional(
      Type.Object(
        {
          command: Type.Optional(
            Type.Array(Type.String({ minLength: 1 }), {
              minItems: 1,
              maxItems: 64,
              description: 'program and its arguments; the question is on its standard input',
            }),
          ),
          url: url('webhook instead, https unless loopback'),
          timeout_seconds: Type.Integer({
            minimum: 1,
            maximum: 60,
            default: 5,
            description: 'how long it may take; then the device is told to come again',
          }),
        },
        closed,
      ),
    ),
    default_audience: Type.Array(Type.String({ minLength: 1 }), {
      minItems: 1,
      maxItems: 16,
      default: ['mqtt'],
      description: 'audience of a client registered without one',
    }),
  },
  { ...closed, default: {} },
);

const listener = Type.Object(
  {
    protocol: Type.Enum(['mqtt', 'mqtts', 'ws', 'wss'], { description: 'mqtt, mqtts, ws or wss' }),
    host: host('127.0.0.1'),
    port: port(1883),
    tls_cert_file: file('certificate chain, PEM'),
    tls_key_file: file('private key, PEM'),
    tls_client_ca_file: file('authorities of client certificates, PEM'),
    require_client_cert: Type.Optional(Type.Boolean({ description: 'refuse clients without a certificate' })),
    proxy_protocol: Type.Optional(
      Type.Boolean({ description: 'expect a PROXY header, which says who the client is' }),
    ),
    proxy_from: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        minItems: 1,
        maxItems: 256,
        description: 'addresses and networks of the load balancers whose PROXY header is believed',
      }),
    ),
  },
  closed,
);

const claimName = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 256, description }));

const trustedIssuer = Type.Object(
  {
    issuer: Type.String({ pattern: '^https?://', description: 'exact `iss` of its tokens' }),
    jwks_uri: url('its key set, https unless loopback; default: found by its metadata'),
    jwks_file: file('its key set as a file, read at start'),
    audience: Type.Optional(
      Type.String({ minLength: 1, description: 'audience of its tokens; default: broker.audience' }),
    ),
    algorithms: Type.Optional(
      Type.Array(signingAlgorithm, { minItems: 1, description: 'algorithms accepted; default: all three' }),
    ),
    profile: Type.Optional(
      Type.Enum(['standard', 'supertokens'], { description: 'shape of its claims; default: standard' }),
    ),
    claims: Type.Optional(
      Type.Object(
        {
          client_id: claimName('claim that names the client; default: `client_id`, equal to `sub`'),
          scope: claimName(
            'claim with the scopes, a list or separated by spaces; default: `scp`, else `scope`',
          ),
          group: claimName('claim that names the group; default: `group`'),
        },
        closed,
      ),
    ),
    types: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        minItems: 1,
        maxItems: 16,
        description: 'values of `typ` accepted; default: `at+jwt`',
      }),
    ),
    max_stale_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        description: 'how long fetched keys are used beyond their max-age while it is away; default: 86400',
      }),
    ),
    scope_format: Type.Enum(['named', 'aif'], {
      default: 'named',
      description: 'how its `scope` is written: named, or aif (RFC 9237)',
    }),
    introspection: Type.Optional(
      Type.Object(
        {
          endpoint: Type.Optional(
            Type.String({ minLength: 1, description: 'default: the one its metadata names' }),
          ),
          client_id: Type.String({ minLength: 1, description: 'client that may introspect' }),
          client_secret_file: Type.String({ minLength: 1, description: 'file with its secret, mode 0600' }),
          interval_seconds: Type.Optional(
            Type.Integer({ minimum: 10, maximum: 86_400, description: 'between two questions; default: 60' }),
          ),
        },
        closed,
      ),
    ),
    credentials_file: file('credentials for its revocation feed'),
    feed_max_away_seconds: Type.Integer({
      minimum: 1,
      maximum: 86_400,
      default: 60,
      description: 'how long that feed may be away before /readyz says so',
    }),
    refuse_when_feed_away: Type.Boolean({
      default: false,
      description: 'refuse its clients while the feed is away for longer',
    }),
  },
  closed,
);

const cluster = Type.Object(
  {
    redis: Type.String({
      pattern: '^rediss?://.+',
      description:
        'Redis that several brokers share, `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS; see [scaling](scaling.md)',
    }),
    username: Type.Optional(Type.String({ minLength: 1, description: 'its user' })),
    password_file: file('file with its password, mode 0600; default: FLEETGATE_REDIS_PASSWORD(_FILE)'),
    tls_ca_file: file('authorities of its certificate, PEM'),
    sentinel: Type.Optional(
      Type.Object(
        {
          primary: Type.String({ minLength: 1, description: 'name of the primary' }),
          nodes: Type.Array(Type.String({ pattern: '^[^/@\\s]+$' }), {
            minItems: 1,
            maxItems: 16,
            description: 'sentinels, `HOST:PORT` each',
          }),
          password_file: file('file with their password, mode 0600'),
        },
        closed,
      ),
    ),
    prefix: Type.String({
      pattern: '^[A-Za-z0-9._-]{1,64}$',
      default: 'fleetgate',
      description: 'what its keys begin with; another for each fleet',
    }),
    frozen_after_seconds: limit(5, 300, 'time without an answer after which it is taken for gone'),
    dead_after_seconds: limit(
      15,
      3600,
      'time without a sign of life after which a broker is dead and its wills are published',
    ),
  },
  closed,
);

const limits = Type.Object(
  {
    max_connect_bytes: limit(16_384, 1_048_576, 'bytes of a CONNECT packet'),
    max_packet_bytes: limit(1_048_576, 268_435_455, 'bytes of any other packet'),
    max_connections: limit(100_000, 10_000_000, 'connections in all'),
    max_connections_per_address: limit(10_000, 10_000_000, 'connections from one address'),
    max_sessions_per_client: limit(100, 1_000_000, 'sessions that are kept of one client, live or not'),
    max_subscriptions_per_client: limit(100, 10_000, 'subscriptions of one client'),
    max_queued_messages_per_client: limit(1000, 1_000_000, 'messages kept for one client that is offline'),
    max_queued_bytes_per_client: limit(16_777_216, 1_073_741_824, 'bytes of those messages'),
    max_unread_bytes_per_client: limit(8_388_608, 1_073_741_824, 'bytes a client may leave unread'),
    max_retained_messages_per_client: limit(
      10_000,
      1_000_000,
      'retained messages one client may have published',
    ),
    max_retained_bytes_per_client: limit(16_777_216, 1_073_741_824, 'bytes of those messages'),
    max_retained_messages: limit(100_000, 10_000_000, 'retained messages in all'),
    max_keepalive_seconds: limit(1200, 65_535, 'keepalive a client may ask for; 0 is refused'),
    connect_timeout_seconds: limit(10, 300, 'time from the connection to an accepted CONNECT'),
    drain_timeout_seconds: limit(10, 300, 'time one slow reader may hold up a delivery'),
  },
  { ...closed, default: {} },
);

const broker = Type.Object(
  {
    listeners: Type.Array(listener, {
      minItems: 1,
      maxItems: 16,
      default: [{ protocol: 'mqtt' }],
      description: 'where devices connect',
    }),
    audience: Type.String({ minLength: 1, default: 'mqtt', description: 'audience a token must name' }),
    trusted_issuers: Type.Array(trustedIssuer, {
      maxItems: 16,
      default: [],
      description: 'issuers trusted beside the embedded one',
    }),
    policy_file: file('topic policy; default: policy.yaml in the data directory'),
    audit_file: file(
      'what matters for security is appended to it, a line of JSON each; default: nowhere; see [observability](observability.md)',
    ),
    clock_skew_seconds: Type.Integer({
      minimum: 0,
      maximum: 300,
      default: 5,
      description: 'how far clocks may differ',
    }),
    client_id_binding: Type.Enum(['exact', 'prefix', 'none'], {
      default: 'exact',
      description: 'how the MQTT client id must relate to the token: exact, prefix or none',
    }),
    denied_publish: Type.Enum(['disconnect', 'drop'], {
      default: 'disconnect',
      description: 'what a refused PUBLISH gets: disconnect, or drop (acknowledged, delivered to nobody)',
    }),
    limits,
    cluster: Type.Optional(cluster),
  },
  { ...closed, default: {} },
);

const oidc = Type.Object(
  {
    issuer: Type.String({
      pattern: '^https?://',
      description: '`iss` of the provider, whose metadata is found by it; https unless loopback',
    }),
    client_id: Type.String({
      minLength: 1,
      maxLength: 256,
      description:
        'what the console is called there; its redirect URI is `URL/oidc/callback`, URL being console.url',
    }),
    client_secret_file: file('its secret, mode 0600; without one it is a public client, with PKCE'),
    scopes: Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
      minItems: 1,
      maxItems: 32,
      default: ['openid'],
      description: 'what is asked for; openid is one of them',
    }),
    role_claim: Type.String({
      minLength: 1,
      maxLength: 256,
      default: 'roles',
      description:
        'claim of the ID token that gives the role, text or a list of texts; with a slash in front a JSON pointer, as `/realm_access/roles`',
    }),
    roles: Type.Record(Type.String(), Type.Enum(['admin', 'provisioner', 'auditor']), {
      minProperties: 1,
      description:
        'which value of it gives which role: `admin`, `provisioner` or `auditor`, the first of these where there are several; nobody else gets in',
    }),
  },
  closed,
);

export const configSchema = Type.Object(
  {
    issuer,
    admin: Type.Object({ host: host('127.0.0.1'), port: port(8081) }, { ...closed, default: {} }),
    console: Type.Object(
      {
        url: url(
          'where browsers find the console, as `https://fleet.example/console/`; https unless loopback',
        ),
        oidc: Type.Optional(oidc),
      },
      { ...closed, default: {} },
    ),
    broker,
    log: Type.Object(
      {
        level: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
          default: 'info',
          description: 'least severe level that is logged',
        }),
        format: Type.Enum(['json', 'pretty'], { default: 'json', description: 'json or pretty' }),
      },
      { ...closed, default: {} },
    ),
  },
  closed,
);

/** The configuration with every default filled in. */
export type Config = Static<typeof configSchema>;
