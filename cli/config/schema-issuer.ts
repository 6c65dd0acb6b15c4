import { ruleOptions } from '@fleetgate/broker/policy';
import Type from 'typebox';
import { closed, file, host, limit, port, url } from './schema-parts.ts';

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

/** `issuer:` of the configuration. */
export const issuer = Type.Object(
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
