import Type from 'typebox';
import { closed, file, url } from './schema-parts.ts';

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

/** `console:` of the configuration. */
export const webConsole = Type.Object(
  {
    url: url('where browsers find the console, as `https://fleet.example/console/`; https unless loopback'),
    oidc: Type.Optional(oidc),
  },
  { ...closed, default: {} },
);
