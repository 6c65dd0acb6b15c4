/** What a statement is given: its `?` in order, or one object with its `@names`. */
export type Value = string | number | Uint8Array | null;
export type Values = readonly Value[] | readonly [Readonly<Record<string, Value>>];

/** Something the store is asked to do now, within an act. */
export type Call = { readonly statement: Statement } & (
  | { readonly want: 'rows' | 'row' | 'changes'; readonly values: Values }
  /** Once with each of these values. */
  | { readonly want: 'rows_of_each' | 'changes_of_each'; readonly each: readonly Values[] }
);

/**
 * An act on the store, written once for each of them: it yields what it asks of the store, and goes on with the answer.
 * SQLite answers at once, PostgreSQL after a round trip (see `sqlite/run-act.ts` and `postgres/run-act.ts`).
 */
export type Act<T> = Generator<Call, T, unknown>;

/** A statement that each store understands: SQLite 3.39 or later, PostgreSQL 13 or later. */
export interface Statement<V extends Values = never, Row = unknown> {
  readonly text: string;
  /** Whether it is one of many that differ in their shape: then PostgreSQL does not keep it prepared. */
  readonly isVarying: boolean;
  all(...values: V): Act<Row[]>;
  get(...values: V): Act<Row | undefined>;
  /** How many rows it changed. */
  run(...values: V): Act<number>;
  /** As `all` with each of these; on PostgreSQL in one round trip. */
  allOfEach(each: readonly V[]): Act<Row[][]>;
  /** As `run` with each of these, in their order; on PostgreSQL in one round trip. */
  runEach(each: readonly V[]): Act<number[]>;
}

/** Columns of `Row` are text, numbers (of 64 bits: safe integers), bytes or null in each store. */
export function sql<V extends Values = [], Row = Record<never, never>>(
  text: string,
  { isVarying = false } = {},
): Statement<V, Row> {
  const statement: Statement<V, Row> = {
    text,
    isVarying,
    *all(...values) {
      return (yield { statement, want: 'rows', values }) as Row[];
    },
    *get(...values) {
      return (yield { statement, want: 'row', values }) as Row | undefined;
    },
    *run(...values) {
      return (yield { statement, want: 'changes', values }) as number;
    },
    *allOfEach(each) {
      return each.length === 0 ? [] : ((yield { statement, want: 'rows_of_each', each }) as Row[][]);
    },
    *runEach(each) {
      return each.length === 0 ? [] : ((yield { statement, want: 'changes_of_each', each }) as number[]);
    },
  };
  return statement;
}

/** An act that asks the store for nothing. */
export function* settled<T>(value: T): Act<T> {
  yield* [];
  return value;
}
