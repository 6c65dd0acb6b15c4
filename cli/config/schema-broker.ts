import Type from 'typebox';
import { closed, file, host, limit, port, url } from './schema-parts.ts';

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
      Type.Array(Type.Enum(['ES256', 'EdDSA', 'RS256']), {
        minItems: 1,
        description: 'algorithms accepted; default: all three',
      }),
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

/** `broker:` of the configuration. */
export const broker = Type.Object(
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
