/** Apps one issuer holds. Ours: each has a database of its own, open all the time. */
export const MAX_APPS = 100;

/** SuperTokens' name for the app without a prefix: a second one of that name would be taken for it. */
const DEFAULT_APP_ID = 'public';

/** Whether an app may be called so: `[a-z0-9-]{1,64}`, but not `public`. Also a directory's name, so never with a dot. */
export function isAppId(value: unknown): value is string {
  return typeof value === 'string' && /^[a-z0-9-]{1,64}$/.test(value) && value !== DEFAULT_APP_ID;
}

/** The first part of an app's paths, after the path of the issuer's URL. */
export function appPath(appId: string): string {
  return `/appid-${appId}`;
}
