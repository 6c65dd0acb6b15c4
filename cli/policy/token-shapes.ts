import type { Policy } from '@fleetgate/broker/policy';
import { directScopeToken, isIdentifier, overlaps } from '@fleetgate/shared';
import { placeholdersOf, wordsBeside } from './named-words.ts';
import type { Subject } from './subject.ts';

/** A token that stands for others. */
export interface TokenShape extends Subject {
  /** For people: its scopes, and what of its values matters. */
  readonly name: string;
  /** What of its values matters, as `no group`. */
  readonly words: readonly string[];
}

export interface TokenShapes {
  readonly shapes: readonly TokenShape[];
  /** Scopes that were not looked at with every set of scopes that lift denies, and every value that filters name. */
  readonly incomplete: readonly string[];
}

/** Tokens of one scope. */
const MAX_SHAPES_PER_SCOPE = 512;

/**
 * Tokens that stand for all there are: where any token gains or loses by a rule of a scope, so does one with that scope
 * and those of its others that lift a deny which meets the rule. Direct scopes change by denies alone, so one for each
 * deny stands for them. Of the values of placeholders those that a filter names are told apart, whether there is one, and
 * whether two are the same.
 */
export function tokenShapes(policies: readonly Policy[]): TokenShapes {
  const incomplete: string[] = [];
  const shapes = startsOf(policies).flatMap(({ scope, rules }) => {
    const all = shapesOf(scope, meetingOf(policies, scope, rules));
    if (all.length > MAX_SHAPES_PER_SCOPE) incomplete.push(scope);
    return all.slice(0, MAX_SHAPES_PER_SCOPE);
  });
  // Those with fewer scopes and values first: what they tell need not be told of those with more.
  return { shapes: shapes.sort((a, b) => marksOf(a) - marksOf(b)), incomplete };
}

const marksOf = ({ scopes, words }: TokenShape) => scopes.length + words.length;

type Side = 'publish' | 'subscribe';
type Rules = Readonly<
  Record<
    Side,
    readonly { readonly template: Deny['template']; readonly rule: { readonly written: string } }[]
  >
>;
type Deny = Policy['denyPublish'][number];

const deniesOf = { publish: 'denyPublish', subscribe: 'denySubscribe' } as const;

/** Every scope that tokens begin with, and what it gives. */
function startsOf(policies: readonly Policy[]): { scope: string; rules: Rules }[] {
  const names = Array.from(new Set(policies.flatMap(({ scopes }) => Array.from(scopes.keys())))).sort();
  const named = names.map((scope) => {
    const of = policies.flatMap(({ scopes }) => scopes.get(scope) ?? []);
    const rules = {
      publish: of.flatMap(({ publish }) => publish),
      subscribe: of.flatMap(({ subscribe }) => subscribe),
    };
    return { scope, rules };
  });
  const direct = (side: Side) =>
    policies
      .flatMap((policy) => policy[deniesOf[side]])
      .map((deny) => ({
        scope: directScopeToken(side, deny.template.widened()),
        rules: { publish: [], subscribe: [], [side]: [deny] },
      }));
  const starts = [...named, ...direct('publish'), ...direct('subscribe')];
  return Array.from(new Map(starts.map((start) => [start.scope, start])).values());
}

interface Meeting {
  /** The rules, and the denies that meet one, as written. */
  readonly written: readonly string[];
  /** Scopes that lift such denies; one for those that lift the same. */
  readonly lifting: readonly string[];
}

function meetingOf(policies: readonly Policy[], scope: string, rules: Rules): Meeting {
  const denies = (['publish', 'subscribe'] as const).flatMap((side) => {
    const widest = rules[side].map(({ template }) => template.widened());
    return policies
      .flatMap((policy) => policy[deniesOf[side]])
      .filter(({ template }) => widest.some((rule) => overlaps(rule, template.widened())));
  });
  const lifting = new Map<string, string>();
  for (const other of new Set(denies.flatMap(({ rule }) => rule.unless))) {
    if (other === scope) continue;
    lifting.set(denies.map(({ rule }) => Number(rule.unless.includes(other))).join(''), other);
  }
  const written = [...rules.publish, ...rules.subscribe, ...denies].map(({ rule }) => rule.written);
  return { written, lifting: Array.from(lifting.values()).sort() };
}

function shapesOf(scope: string, { written, lifting }: Meeting): TokenShape[] {
  const shapes: TokenShape[] = [];
  for (const more of subsets(lifting)) {
    for (const token of valuesOf(written)) {
      const scopes = [scope, ...more];
      shapes.push({ ...token, scopes, name: [scopes.join(' '), ...token.words].join(', ') });
      if (shapes.length > MAX_SHAPES_PER_SCOPE) return shapes;
    }
  }
  return shapes;
}

/** Fewest first, since more than a few are seldom held together. */
function* subsets(items: readonly string[]): Generator<string[]> {
  for (let size = 0; size <= items.length; size += 1) yield* subsetsOf(items, size);
}

function* subsetsOf(items: readonly string[], size: number): Generator<string[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (const [at, item] of items.entries()) {
    for (const rest of subsetsOf(items.slice(at + 1), size - 1)) yield [item, ...rest];
  }
}

const CLIENT_ID = 'a-client';

type Values = Omit<TokenShape, 'scopes' | 'name'>;

/** Every combination of values that matters to these filters. The first has of each one that no filter names. */
function valuesOf(written: readonly string[]): Iterable<Values> {
  const names = Array.from(placeholdersOf(written)).sort((a, b) => rankOf(a) - rankOf(b));
  return combined(names, [], written, { clientId: CLIENT_ID, claims: {}, words: [] });
}

/** The client id first: others may be the same. */
const rankOf = (name: string) => (name === 'client_id' ? 0 : name === 'group' ? 1 : 2);

function* combined(
  names: readonly string[],
  known: readonly string[],
  written: readonly string[],
  values: Values,
): Generator<Values> {
  const [name, ...rest] = names;
  if (name === undefined) {
    yield values;
    return;
  }
  const isClaim = name.startsWith('claim:');
  const fresh = name === 'client_id' ? CLIENT_ID : `a-${name.replace('claim:', '').replace(/\W+/g, '-')}`;
  const named = Array.from(wordsBeside(written, name)).filter((word) => !word.startsWith('$'));
  const choices = new Set([fresh, ...(name === 'client_id' ? [] : [undefined]), ...known, ...named]);
  for (const value of choices) {
    if (!isClaim && value !== undefined && !isIdentifier(value)) continue;
    const told =
      name === 'client_id' ? `client ${value}` : value === undefined ? `no ${name}` : `${name} ${value}`;
    yield* combined(rest, value === undefined ? known : [...known, value], written, {
      ...values,
      ...valueFor(name, value, values),
      words: value === fresh ? values.words : [...values.words, told],
    });
  }
}

function valueFor(name: string, value: string | undefined, { claims }: Values): Partial<Values> {
  if (value === undefined) return {};
  if (name === 'client_id') return { clientId: value };
  if (name === 'group') return { group: value };
  return { claims: { ...claims, [name.slice('claim:'.length)]: value } };
}
