import { join } from 'node:path';
import { FleetgateError, OAuthError } from '@fleetgate/shared';
import type { Logger } from 'pino';
import { readOrCreateAdminKey } from '../admin-key.ts';
import { type AuditAction, type AuditEvent, adminActor, auditEvent } from '../audit.ts';
import type { Administrator } from '../clients.ts';
import type { Issuer } from '../open-issuer.ts';
import { APP_DATABASE, openAppFiles } from './app-files.ts';
import { isAppId, MAX_APPS } from './app-id.ts';

/** A tenant: an issuer of its own, with clients, keys, revocations, audit and API keys that no other has. */
export interface App {
  readonly appId: string;
  readonly issuer: Issuer;
  /** Opens its admin API, and no other. */
  readonly adminKey: string;
}

/** The apps beside the default one, which is the issuer itself. */
export interface Apps {
  find(appId: string): App | undefined;
  /** Ordered by id. */
  list(): readonly App[];
  /** @throws FleetgateError `registry_conflict`, `not_supported`, `invalid_request` */
  create(appId: string, by: Administrator): Promise<App>;
  /**
   * Ends an app that has no clients left; its files are put aside.
   * @throws FleetgateError `app_unknown`, `app_not_empty`
   */
  delete(appId: string, by: Administrator): Promise<void>;
  close(): Promise<void>;
}

export interface AppsOptions {
  /** Made with mode 0700; unset where the issuer has no place for apps. */
  readonly directory: string | undefined;
  readonly open: (appId: string, database: string) => Promise<Issuer>;
  /** Records an act on an app, in the audit trail of the default one. */
  readonly recordEvent: (event: AuditEvent) => Promise<void>;
  /** Settles when no request to the app is in flight; none is to come. */
  readonly drain: (app: App) => Promise<void>;
  readonly now: () => number;
  readonly log: Logger | undefined;
}

/**
 * Opens all apps there are. One that cannot be opened keeps the issuer from starting, as its own registry does.
 * @throws FleetgateError `registry_unavailable`, `registry_schema_newer`, `key_file_invalid`, `config_invalid`
 */
export async function openApps(options: AppsOptions): Promise<Apps> {
  const { directory, recordEvent, drain, now, log } = options;
  const apps = new Map<string, App>();
  if (directory === undefined) return { ...none, list: () => [] };
  const files = openAppFiles(directory);
  const oneAtATime = sequence();

  async function openAt(appId: string, place: string): Promise<App> {
    const issuer = await options.open(appId, join(place, APP_DATABASE));
    try {
      return { appId, issuer, adminKey: readOrCreateAdminKey(join(place, 'admin.key')) };
    } catch (error) {
      await issuer.close();
      throw error;
    }
  }

  const open = async (appId: string) => {
    const app = await openAt(appId, files.directory(appId));
    apps.set(appId, app);
    return app;
  };

  async function close(): Promise<void> {
    for (const app of apps.values()) await app.issuer.close();
    apps.clear();
  }

  async function create(appId: string, event: AuditEvent): Promise<App> {
    if (!isAppId(appId)) {
      throw new OAuthError('invalid_request', "app_id must match [a-z0-9-]{1,64} and not be 'public'");
    }
    if (apps.has(appId)) throw new FleetgateError('registry_conflict', `app '${appId}' exists already`);
    if (apps.size >= MAX_APPS) {
      throw new FleetgateError('not_supported', `there are ${MAX_APPS} apps, which is as many as may be`);
    }
    await files.create(appId, async (place) => (await openAt(appId, place)).issuer.close());
    const app = await open(appId);
    try {
      await recordEvent(event);
      return app;
    } catch (error) {
      apps.delete(appId);
      await app.issuer.close();
      files.remove(appId);
      throw error;
    }
  }

  async function remove(appId: string, event: AuditEvent): Promise<void> {
    const app = apps.get(appId);
    if (app === undefined) throw new FleetgateError('app_unknown', 'there is no such app');
    await refuseNonEmpty(app);
    apps.delete(appId);
    try {
      await drain(app);
      // A client may have been registered by a request that was in flight.
      await refuseNonEmpty(app);
    } catch (error) {
      apps.set(appId, app);
      throw error;
    }
    await app.issuer.close();
    let undo: (() => void) | undefined;
    try {
      undo = files.putAside(appId, event.atMs);
      await recordEvent(event);
    } catch (error) {
      undo?.();
      await open(appId);
      throw error;
    }
  }

  /** An act that is recorded also when it was refused. */
  function recorded<T>(
    action: AuditAction,
    appId: string,
    by: Administrator,
    act: (event: AuditEvent) => Promise<T>,
  ): Promise<T> {
    const event = auditEvent({
      atMs: now(),
      actor: adminActor(by.keyName),
      action,
      caller: by,
      target: isAppId(appId) ? appId : undefined,
    });
    return oneAtATime(async () => {
      try {
        return await act(event);
      } catch (error) {
        if (!(error instanceof FleetgateError) || error.code === 'registry_unavailable') throw error;
        await recordEvent({ ...event, result: error.code });
        throw error;
      }
    });
  }

  const { appIds, strangers } = files.list();
  if (appIds.length > MAX_APPS) {
    throw new FleetgateError('config_invalid', `${directory} holds more than ${MAX_APPS} apps`);
  }
  for (const name of strangers)
    log?.warn({ event: 'app_skipped', name }, 'the directory of apps holds what is no app');
  try {
    for (const appId of appIds) await open(appId);
  } catch (error) {
    await close();
    throw error;
  }

  return {
    find: (appId) => apps.get(appId),
    list: () => Array.from(apps.values()).sort((a, b) => (a.appId < b.appId ? -1 : 1)),
    create: (appId, by) => recorded('app.create', appId, by, (event) => create(appId, event)),
    delete: (appId, by) => recorded('app.delete', appId, by, (event) => remove(appId, event)),
    close: () => oneAtATime(close),
  };
}

const none = {
  find: () => undefined,
  async create(): Promise<never> {
    throw new FleetgateError('not_supported', 'this issuer has no directory for apps');
  },
  async delete(): Promise<never> {
    throw new FleetgateError('app_unknown', 'there is no such app');
  },
  close: async () => undefined,
};

async function refuseNonEmpty({ appId, issuer }: App): Promise<void> {
  const { clients } = await issuer.clients.list({ limit: 1 });
  if (clients.length === 0) return;
  // Deleting a client revokes its tokens, and tells who follows the app's revocations.
  throw new FleetgateError('app_not_empty', `app '${appId}' has clients; delete them first`);
}

/** Runs what it is given one after another. */
function sequence() {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(act: () => Promise<T>): Promise<T> => {
    const done = last.then(act, act);
    last = done.catch(() => undefined);
    return done;
  };
}
