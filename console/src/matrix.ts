/** How many of the clients of a row may publish there, subscribe to it, and be delivered what is published there. */
export interface AccessCell {
  readonly publish: number;
  readonly subscribe: number;
  readonly receive: number;
  /** A client for each outcome, by its letters. */
  readonly examples: Readonly<Record<string, string>>;
}

export interface AccessRow {
  readonly name: string;
  readonly clients: number;
  /** By topic. */
  readonly cells: ReadonlyMap<string, AccessCell>;
}

export interface MatrixAnswer {
  readonly topics: readonly string[];
  readonly rows: readonly { readonly name: string; readonly clients: number; readonly cells: AccessCell[] }[];
  readonly clients_left_out: number;
  readonly topics_left_out: number;
  readonly looked_at: number;
  readonly next_cursor?: string;
  /** Of the policy. */
  readonly policy: string;
}

export interface MatrixAsked {
  readonly by: 'client' | 'group';
  readonly selector: string;
  /** Undefined: those of the policy. */
  readonly topics: readonly string[] | undefined;
}

/** A matrix as it is shown: one answer, or several that were added up. */
export interface Matrix extends MatrixAsked {
  readonly columns: readonly string[];
  readonly rows: readonly AccessRow[];
  readonly clientsLeftOut: number;
  readonly topicsLeftOut: number;
  readonly lookedAt: number;
  readonly next: string | undefined;
  readonly policy: string;
}

/** The answer, added to what was counted before it. */
export function addedMatrix(asked: MatrixAsked, answer: MatrixAnswer, before: Matrix | undefined): Matrix {
  const rows = new Map(before?.rows.map((row) => [row.name, row]));
  for (const { name, clients, cells } of answer.rows) {
    const known = rows.get(name);
    const entries = answer.topics.map((topic, at) => {
      const [one, other] = [cells[at] as AccessCell, known?.cells.get(topic)];
      return [topic, other === undefined ? one : sum(other, one)] as const;
    });
    rows.set(name, { name, clients: clients + (known?.clients ?? 0), cells: new Map(entries) });
  }
  return {
    ...asked,
    columns: answer.topics,
    rows: [...rows.values()].sort((one, other) => (one.name < other.name ? -1 : 1)),
    clientsLeftOut: answer.clients_left_out + (before?.clientsLeftOut ?? 0),
    topicsLeftOut: Math.max(answer.topics_left_out, before?.topicsLeftOut ?? 0),
    lookedAt: answer.looked_at + (before?.lookedAt ?? 0),
    next: answer.next_cursor,
    policy: answer.policy,
  };
}

const sum = (one: AccessCell, other: AccessCell): AccessCell => ({
  publish: one.publish + other.publish,
  subscribe: one.subscribe + other.subscribe,
  receive: one.receive + other.receive,
  examples: { ...other.examples, ...one.examples },
});

/** In words, for who does not see the signs. */
export function cellWords(cell: AccessCell | undefined, clients: number): string {
  if (cell === undefined) return 'not looked at';
  const parts = (['publish', 'subscribe', 'receive'] as const).flatMap((action) => {
    if (cell[action] === 0 || (action === 'receive' && cell.receive <= cell.subscribe)) return [];
    const verb = action === 'receive' ? 'be delivered what is published there' : action;
    return [cell[action] === clients ? `may ${verb}` : `${cell[action]} of ${clients} may ${verb}`];
  });
  return parts.join(', ') || 'nothing';
}
