import { defineConfig } from 'vitepress';

const page = (text: string, link: string) => ({ text, link });

// The pages are those of docs/, read as they stand; the README is the first of them.
export default defineConfig({
  title: 'Fleetgate',
  description: 'OAuth 2.0 access control for MQTT fleets',
  cleanUrls: true,
  // Links to files of the repository are for who reads the pages there.
  ignoreDeadLinks: [/^\.?\/?\.\.\//, /\.\.\//],
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: [
      {
        text: 'Start',
        items: [
          page('Overview', '/'),
          page('Fifteen minutes', '/tutorial'),
          page('Compared with others', '/comparison'),
        ],
      },
      {
        text: 'Tasks',
        items: [
          page('All', '/tasks/'),
          page('Find out why', '/tasks/refused'),
          page('Take a device out', '/tasks/stolen'),
          page('Replace a device', '/tasks/replace'),
          page('Rotate secrets', '/tasks/secrets'),
          page('Change the policy', '/tasks/policy'),
          page('Replace a signing key', '/tasks/signing-key'),
          page('Let somebody in', '/tasks/people'),
          page('Back up and restore', '/tasks/backup'),
          page('Put TLS in front', '/tasks/tls'),
          page('Protect an HTTP service', '/tasks/http-service'),
        ],
      },
      {
        text: 'Devices',
        items: [
          page('Agent', '/agent'),
          page('Fleet', '/fleet'),
          page('CoAP', '/coap'),
          page('HTTP services', '/http-services'),
          page('From SuperTokens', '/supertokens'),
        ],
      },
      {
        text: 'Access',
        items: [
          page('Topic policy', '/policy'),
          page('Issuer', '/issuer'),
          page('Revocation', '/revocation'),
        ],
      },
      {
        text: 'Running it',
        items: [
          page('Operations', '/operations'),
          page('Console', '/console'),
          page('Pictures of the console', '/pictures'),
          page('Observability', '/observability'),
          page('Past one machine', '/scaling'),
          page('RabbitMQ and EMQX', '/engines'),
          page('Security', '/security'),
          page('Benchmarks', '/benchmarks'),
        ],
      },
      {
        text: 'Reference',
        items: [
          page('Commands', '/cli'),
          page('Configuration', '/configuration'),
          page('HTTP API', '/http-api'),
          page('Error codes', '/error-codes'),
          page('Plugin', '/plugin'),
        ],
      },
    ],
  },
});
