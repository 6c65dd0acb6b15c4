import { type FaultCode, FleetgateError } from '@fleetgate/shared';
import {
  type Document,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
  type YAMLError,
} from 'yaml';
import { type Path, schemaProblems } from './schema-problems.ts';

/** Bytes a document may have. A policy of a thousand rules has some 60 KiB. */
export const MAX_DOCUMENT_BYTES = 262_144;

/** Maps and lists inside each other. Ours need six; the limit keeps every walk of the tree off the stack's end. */
export const MAX_DOCUMENT_DEPTH = 32;

/** Problems one error lists; a file with more is the wrong file. */
export const MAX_DOCUMENT_PROBLEMS = 50;

/** One thing wrong with a document. Line and column count from 1. */
export interface DocumentProblem {
  readonly line: number;
  readonly column: number;
  readonly words: string;
}

/** A document that was refused, with everything that is wrong with it; one line of the message for each. */
export class DocumentError extends FleetgateError {
  override readonly name = 'DocumentError';
  readonly fileName: string;
  readonly problems: readonly DocumentProblem[];

  constructor(code: FaultCode, fileName: string, problems: readonly DocumentProblem[]) {
    const lines = problems
      .slice(0, MAX_DOCUMENT_PROBLEMS)
      .map(({ line, column, words }) => `${fileName}:${line}:${column}: ${words}`);
    if (problems.length > lines.length) lines.push(`${fileName}: and ${problems.length - lines.length} more`);
    super(code, lines.join('\n'));
    this.fileName = fileName;
    this.problems = problems;
  }
}

/** Where things stand in a document, and a way to say what is wrong with them. */
export interface DocumentReview {
  /** `file:line:column` of the value at `path`. */
  locate(path: Path): string;
  /** Notes a problem with the value at `path`, or with its key. */
  report(path: Path, words: string, about?: 'key' | 'value'): void;
}

export interface DocumentOptions<T> {
  /** Code of the error. Default: `config_invalid`. */
  readonly code?: FaultCode;
  /** Default: {@link MAX_DOCUMENT_BYTES}. */
  readonly maxBytes?: number;
  /**
   * Whether `{word}` and `{word:more}` are plain text wherever they stand. In YAML a brace inside `[ … ]` opens a map,
   * so `[ devices/{client_id}/# ]` would not parse. Default: false.
   */
  readonly bracedWordsAreText?: boolean;
  /** What a schema cannot say; runs when the schema holds. */
  readonly review?: (value: T, review: DocumentReview) => void;
}

/**
 * The value of a YAML 1.2 document (JSON is YAML) that a JSON Schema describes. Refused with their positions:
 * syntax errors, duplicate keys, several documents, anchors and aliases, explicit tags, merge keys, directives,
 * unknown keys (with the nearest known one) and whatever else the schema or `review` does not allow.
 * @throws DocumentError
 */
export function readDocument<T>(
  text: string,
  fileName: string,
  schema: object,
  options: DocumentOptions<T> = {},
): T {
  const {
    code = 'config_invalid',
    maxBytes = MAX_DOCUMENT_BYTES,
    bracedWordsAreText = false,
    review,
  } = options;
  const problems: DocumentProblem[] = [];
  const lines = new LineCounter();
  const add = (offset: number, words: string): void => {
    const { line, col } = lines.linePos(offset);
    problems.push({ line: Math.max(1, line), column: Math.max(1, col), words });
  };
  const finish = (): void => {
    if (problems.length === 0) return;
    problems.sort((a, b) => a.line - b.line || a.column - b.column);
    throw new DocumentError(code, fileName, problems);
  };

  if (Buffer.byteLength(text) > maxBytes) add(0, `the file is larger than ${maxBytes} bytes`);
  finish();

  const document = parseDocument(bracedWordsAreText ? hideBracedWords(text) : text, {
    version: '1.2',
    schema: 'core',
    merge: false,
    strict: true,
    stringKeys: true,
    uniqueKeys: true,
    prettyErrors: false,
    lineCounter: lines,
  });
  // A syntax error leads to others, so the first few are enough.
  for (const error of document.errors.slice(0, 3)) add(error.pos[0], syntaxWords(error));
  finish();
  if (bracedWordsAreText) refuseMarks(text, add);
  refuseConstructs(document, add);
  finish();

  const value: unknown = bracedWordsAreText ? showBracedWords(document.toJS()) : document.toJS();
  for (const { path, isAboutKey, words } of schemaProblems(value, schema)) {
    add(offsetOf(document, path, isAboutKey), words);
  }
  finish();

  review?.(value as T, {
    locate(path) {
      const { line, col } = lines.linePos(offsetOf(document, path, false));
      return `${fileName}:${line}:${col}`;
    },
    report: (path, words, about = 'value') => add(offsetOf(document, path, about === 'key'), words),
  });
  finish();
  return value as T;
}

function refuseConstructs(document: Document, add: (offset: number, words: string) => void): void {
  const { directives } = document;
  if (directives?.yaml.explicit === true || Object.keys(directives?.tags ?? {}).length > 1) {
    add(0, 'directives (%YAML, %TAG) are not allowed');
  }
  visit(document, {
    Alias: (_key, node) => add(startOf(node), 'aliases (*name) are not allowed; write the value out'),
    Pair(_key, { key }) {
      if (isScalar(key) && key.value === '<<')
        add(startOf(key), 'merge keys (<<) are not allowed; write the keys out');
    },
    Value(_key, node, ancestors) {
      const start = startOf(node);
      if (node.anchor !== undefined) add(start, 'anchors (&name) are not allowed');
      if (node.tag !== undefined) add(start, 'tags (!name) are not allowed');
      // Ancestors hold the document and, for maps, the pair beside the map: two for each level.
      if (ancestors.length <= 2 * MAX_DOCUMENT_DEPTH) return undefined;
      add(start, `more than ${MAX_DOCUMENT_DEPTH} maps and lists inside each other`);
      return visit.BREAK;
    },
  });
}

function syntaxWords(error: YAMLError): string {
  switch (error.code) {
    case 'DUPLICATE_KEY':
      return 'this key is given twice';
    case 'MULTIPLE_DOCS':
      return 'only one document is allowed; another begins here';
    case 'RESOURCE_EXHAUSTION':
      return 'too many maps and lists inside each other';
    default:
      // What stands behind a colon and a quote is a piece of the file, which may hold a secret.
      return error.message.replace(/: ".*$/s, '');
  }
}

/** Where the value at `path` begins, or its key; where the text has none (a missing key), the nearest above. */
function offsetOf(document: Document, path: Path, isAboutKey: boolean): number {
  let node: unknown = document.contents;
  let offset = startOf(node as Node | null);
  for (const [depth, segment] of path.entries()) {
    const isLast = depth === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find(
        ({ key }) => isScalar(key) && showBracedWords(String(key.value)) === String(segment),
      );
      if (pair === undefined) return offset;
      const valueStart = startOf(pair.value as Node | null);
      offset = isLast && (isAboutKey || valueStart === 0) ? startOf(pair.key as Node) : valueStart;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(segment)];
      if (node === undefined) return offset;
      offset = startOf(node as Node);
    }
  }
  return offset;
}

function startOf(node: Node | null): number {
  return node?.range?.[0] ?? 0;
}

// Braces become private-use characters, one for one, so that every position stays what it was.
const OPEN = '\uE000';
const CLOSE = '\uE001';

function hideBracedWords(text: string): string {
  return text.replace(/\{([A-Za-z_][A-Za-z0-9_]*(?::[^\s{}[\],"']*)?)\}/g, `${OPEN}$1${CLOSE}`);
}

function refuseMarks(text: string, add: (offset: number, words: string) => void): void {
  const mark = text.search(/[\uE000\uE001]/);
  if (mark !== -1) add(mark, 'the private-use characters U+E000 and U+E001 are not allowed');
}

function showBracedWords<Value>(value: Value): Value;
function showBracedWords(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll(OPEN, '{').replaceAll(CLOSE, '}');
  if (Array.isArray(value)) return value.map((item) => showBracedWords(item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [showBracedWords(key), showBracedWords(item)]),
  );
}
