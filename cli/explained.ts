import { codesByKind } from './explained-codes.ts';

/** What a code means, as text. */
export interface Explained {
  readonly code: string;
  readonly kind: string;
  readonly text: string;
}

/** Every code, without the marks of Markdown. */
export const explained: readonly Explained[] = Object.entries(codesByKind).flatMap(([kind, codes]) =>
  Object.entries(codes).map(([code, text]) => ({ code, kind, text: plain(text) })),
);

/** Without the marks of Markdown; a page that is linked by its path in the repository. */
function plain(markdown: string): string {
  return markdown.replace(/\[[^\]]+\]\(([^)]+)\)/g, 'docs/$1').replaceAll('`', '');
}
