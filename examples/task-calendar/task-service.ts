/**
 * The task service: asks the issuer for an access token, then creates an event at the calendar service with it.
 * The request and its answer are in the camelCase of the SuperTokens machine-to-machine guide.
 *
 *   ISSUER_URL=http://127.0.0.1:8080 CALENDAR_URL=http://127.0.0.1:3001 \
 *   CLIENT_ID=task-service CLIENT_SECRET_FILE=./task-service.secret node task-service.ts
 */
import { existsSync, readFileSync } from 'node:fs';

const issuerUrl = process.env['ISSUER_URL'] ?? 'http://127.0.0.1:8080';
const calendarUrl = process.env['CALENDAR_URL'] ?? 'http://127.0.0.1:3001';
const secretFile = process.env['CLIENT_SECRET_FILE'] ?? 'task-service.secret';
if (!existsSync(secretFile)) {
  console.error(`${secretFile} does not exist; CLIENT_SECRET_FILE names the file of the client secret`);
  process.exit(1);
}

const tokenResponse = await fetch(`${issuerUrl}/auth/oauth/token`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({
    clientId: process.env['CLIENT_ID'] ?? 'task-service',
    clientSecret: readFileSync(secretFile, 'utf8').trim(),
    grantType: 'client_credentials',
    scope: [process.env['SCOPE'] ?? 'event.create'],
    audience: 'event',
  }),
});
const {
  accessToken,
  expiresIn,
  error_description: problem,
} = (await tokenResponse.json()) as {
  accessToken?: string;
  expiresIn?: number;
  error_description?: string;
};
if (accessToken === undefined) {
  console.error(`token: ${tokenResponse.status} ${problem ?? ''}`);
  process.exit(1);
}
console.log(`token: ${tokenResponse.status}, for ${expiresIn} s`);

const eventResponse = await fetch(`${calendarUrl}/events`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${accessToken}` },
  body: JSON.stringify({ title: 'Review the fleet', start: '2026-12-01T09:00:00Z' }),
});
console.log(`event: ${eventResponse.status} ${await eventResponse.text()}`);
process.exitCode = eventResponse.ok ? 0 : 1;
