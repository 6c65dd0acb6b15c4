/**
 * The task service: asks the issuer for an access token, then creates an event at the calendar service with it.
 * The request and its answer are in the camelCase of the SuperTokens machine-to-machine guide.
 *
 *   ISSUER_URL=http://127.0.0.1:8080 CALENDAR_URL=http://127.0.0.1:3001 \
 *   CLIENT_ID=task-service CLIENT_SECRET_FILE=./task-service.secret node task-service.ts
 */
import { readFileSync } from 'node:fs';

const issuerUrl = process.env['ISSUER_URL'] ?? 'http://127.0.0.1:8080';
const calendarUrl = process.env['CALENDAR_URL'] ?? 'http://127.0.0.1:3001';

const tokenResponse = await fetch(`${issuerUrl}/auth/oauth/token`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({
    clientId: process.env['CLIENT_ID'] ?? 'task-service',
    clientSecret: readFileSync(process.env['CLIENT_SECRET_FILE'] ?? 'task-service.secret', 'utf8').trim(),
    grantType: 'client_credentials',
    scope: [process.env['SCOPE'] ?? 'event.create'],
    audience: 'event',
  }),
});
const { accessToken, expiresIn } = (await tokenResponse.json()) as {
  accessToken?: string;
  expiresIn?: number;
};
console.log(`token: ${tokenResponse.status}${expiresIn === undefined ? '' : `, for ${expiresIn} s`}`);

const eventResponse = await fetch(`${calendarUrl}/events`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${accessToken}` },
  body: JSON.stringify({ title: 'Review the fleet', start: '2026-12-01T09:00:00Z' }),
});
console.log(`event: ${eventResponse.status} ${await eventResponse.text()}`);
process.exitCode = eventResponse.ok ? 0 : 1;
