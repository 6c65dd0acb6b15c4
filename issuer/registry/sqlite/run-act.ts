import type Sqlite from 'better-sqlite3';
import type { Act, Call, Statement } from '../acts/statement.ts';
import type { Database } from './database.ts';

export type ActRunner = <T>(act: Act<T>) => T;

/** Runs acts on this database at once, in whatever transaction is open. Statements are prepared once. */
export function actRunner(database: Database): ActRunner {
  const prepared = new WeakMap<Statement, Sqlite.Statement<unknown[]>>();

  function prepare(statement: Statement): Sqlite.Statement<unknown[]> {
    const made = database.prepare<unknown[]>(statement.text);
    prepared.set(statement, made);
    return made;
  }

  function answer(call: Call): unknown {
    const statement = prepared.get(call.statement) ?? prepare(call.statement);
    switch (call.want) {
      case 'rows':
        return statement.all(...call.values);
      case 'row':
        return statement.get(...call.values);
      case 'changes':
        return statement.run(...call.values).changes;
      case 'rows_of_each':
        return call.each.map((values) => statement.all(...values));
      case 'changes_of_each':
        return call.each.map((values) => statement.run(...values).changes);
    }
  }

  return (act) => {
    let step = act.next();
    while (step.done !== true) step = act.next(answer(step.value));
    return step.value;
  };
}
