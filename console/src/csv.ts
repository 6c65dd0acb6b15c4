/** RFC 4180, with a line of names. What a spreadsheet could take for a formula gets a quote in front, as the commands have it. */
export function csv(names: readonly string[], rows: readonly (readonly string[])[]): string {
  const defused = (text: string) => (/^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text);
  const cell = (text: string) =>
    /[",\r\n]/.test(text) ? `"${defused(text).replaceAll('"', '""')}"` : defused(text);
  return [names, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}
