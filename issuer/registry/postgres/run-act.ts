import { OAuthError } from '@fleetgate/shared';
import type pg from 'pg';
import type { Act, Call, Statement, Values } from '../acts/statement.ts';
import { asRegistryError } from './connection.ts';

interface Prepared {
  /** Unset: it is parsed each time. */
  readonly name: string | undefined;
  readonly text: string;
  bind(values: Values): readonly unknown[];
}

const prepared = new WeakMap<Statement, Prepared>();
let named = 0;

/** `?` and `@name` as `$1`, `$2`, … */
function prepare(statement: Statement): Prepared {
  const names: string[] = [];
  let count = 0;
  const text = statement.text.replaceAll(/\?|@(\w+)/g, (_, name?: string) => {
    if (name === undefined) {
      count += 1;
      return `$${count}`;
    }
    const known = names.indexOf(name);
    return `$${known === -1 ? names.push(name) : known + 1}`;
  });
  if (!statement.isVarying) named += 1;
  const made = {
    name: statement.isVarying ? undefined : `fleetgate_${named}`,
    text,
    bind: (values: Values) => {
      if (names.length === 0) return values;
      const [byName] = values as readonly [Readonly<Record<string, unknown>>];
      return names.map((name) => byName[name]);
    },
  };
  prepared.set(statement, made);
  return made;
}

/** PostgreSQL has no text with it. */
export const hasNul = (value: unknown): boolean => typeof value === 'string' && value.includes('\0');

async function query(client: pg.ClientBase, statement: Statement, values: Values): Promise<pg.QueryResult> {
  const { name, text, bind } = prepared.get(statement) ?? prepare(statement);
  const bound = bind(values);
  if (bound.some(hasNul)) throw new OAuthError('invalid_request', 'text must not hold the character U+0000');
  try {
    return await client.query({ ...(name === undefined ? {} : { name }), text, values: [...bound] });
  } catch (error) {
    throw asRegistryError(error);
  }
}

async function answer(client: pg.ClientBase, call: Call): Promise<unknown> {
  const ask = (values: Values) => query(client, call.statement, values);
  switch (call.want) {
    case 'rows':
      return (await ask(call.values)).rows;
    case 'row':
      return (await ask(call.values)).rows[0];
    case 'changes':
      return (await ask(call.values)).rowCount ?? 0;
    // The connection sends them one behind the other and does not wait in between.
    case 'rows_of_each':
      return (await Promise.all(call.each.map(ask))).map(({ rows }) => rows);
    case 'changes_of_each':
      return (await Promise.all(call.each.map(ask))).map(({ rowCount }) => rowCount ?? 0);
  }
}

/**
 * Runs an act on this connection, in whatever transaction is open.
 * @throws FleetgateError `registry_unavailable`; OAuthError `invalid_request` for text that PostgreSQL cannot keep
 */
export async function runAct<T>(client: pg.ClientBase, act: Act<T>): Promise<T> {
  let step = act.next();
  while (step.done !== true) step = act.next(await answer(client, step.value));
  return step.value;
}
