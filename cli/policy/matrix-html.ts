import { type AccessCell, type AccessMatrix, cellText } from './access-matrix.ts';

/**
 * The matrix as a page of its own: no script, nothing from elsewhere. What a colour says a letter says too, and the two
 * colours are told apart by who cannot tell red from green.
 */
export function matrixPage(
  { by, topics, rows, leftOut, topicsLeftOut }: AccessMatrix,
  policyFile: string,
): string {
  const note = [
    ...(leftOut === 0 ? [] : [`<p>${leftOut} clients more have no row here.</p>`]),
    ...(topicsLeftOut === 0 ? [] : [`<p>${topicsLeftOut} topics more have no column here.</p>`]),
  ].join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Who can publish and subscribe where</title>
<style>${style}</style>
</head>
<body>
<h1>Who can publish and subscribe where</h1>
<p>By ${escapeHtml(policyFile)}. <span class="key p">P</span> may publish, <span class="key r">S</span> may subscribe and is
delivered, <span class="key b">PS</span> both, <span class="key r">R</span> is delivered by a wider subscription. A number
says how many of a group. The colour is as strong as the share.</p>
${note}
<div class="scroll" tabindex="0" role="region" aria-label="matrix">
<table>
<thead><tr><th scope="col">${by}</th><th scope="col">clients</th>${topics.map(topicHead).join('')}</tr></thead>
<tbody>
${rows.map(({ name, clients, cells }) => bodyRow(name, clients, cells, topics)).join('\n')}
</tbody>
</table>
</div>
</body>
</html>
`;
}

const style = `
:root{color-scheme:light dark;--p:230 159 0;--r:0 114 178;--b:0 158 115}
body{font:14px/1.4 system-ui,sans-serif;margin:1.5rem}
.scroll{overflow:auto;max-height:80vh;border:1px solid #8888}
table{border-collapse:collapse}
th,td{padding:.25rem .5rem;border:1px solid #8884;white-space:nowrap}
thead th{position:sticky;top:0;z-index:1;background:Canvas;vertical-align:bottom;text-align:left}
tbody th{position:sticky;left:0;background:Canvas;text-align:left;font-weight:600}
td{text-align:center;font-variant-numeric:tabular-nums}
.topic{writing-mode:vertical-rl;transform:rotate(180deg);font-weight:400}
.key{padding:0 .4rem;border:1px solid #8884}
.p{background:rgb(var(--p)/var(--share,.5))}.r{background:rgb(var(--r)/var(--share,.5))}.b{background:rgb(var(--b)/var(--share,.5))}
`;

const topicHead = (topic: string) => `<th scope="col"><span class="topic">${escapeHtml(topic)}</span></th>`;

function bodyRow(
  name: string,
  clients: number,
  cells: readonly AccessCell[],
  topics: readonly string[],
): string {
  const shown = cells.map((cell, i) => bodyCell(name, cell, clients, topics[i] ?? ''));
  return `<tr><th scope="row">${escapeHtml(name)}</th><td>${clients}</td>${shown.join('')}</tr>`;
}

function bodyCell(name: string, cell: AccessCell, clients: number, topic: string): string {
  const publish = cell.publish;
  const read = Math.max(cell.subscribe, cell.receive);
  const title = escapeHtml(`${name}, ${topic}: ${wordsOf(cell, clients)}`);
  if (publish === 0 && read === 0) return `<td title="${title}"></td>`;
  const kind = publish > 0 && read > 0 ? 'b' : publish > 0 ? 'p' : 'r';
  // Never so weak that it is not seen, nor so strong that the text on it cannot be read, be the page light or dark.
  const share = (0.15 + (0.35 * Math.max(publish, read)) / clients).toFixed(2);
  return `<td class="${kind}" style="--share:${share}" title="${title}">${cellText(cell, clients)}</td>`;
}

function wordsOf(cell: AccessCell, clients: number): string {
  const words = (['publish', 'subscribe', 'receive'] as const)
    .filter((action) => cell[action] > 0)
    .map((action) => (clients === 1 ? action : `${cell[action]} of ${clients} ${action}`));
  return words.join(', ') || 'nothing';
}

const escapes: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ["'", '&#39;'],
]);

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => escapes.get(character) ?? character);
}
