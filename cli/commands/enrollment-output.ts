import type { EnrollmentRequestView, EnrollmentView } from '../fleet-client.ts';
import { formatJson, formatRecord, formatRows, type RowFormat, toRow } from '../output.ts';

const enrollmentColumns = [
  'enrollment_id',
  'kind',
  'state',
  'template',
  'uses',
  'max_uses',
  'expires_at',
  'approval',
];

export function formatEnrollments(all: readonly EnrollmentView[], format: RowFormat): string {
  if (format === 'json') return formatJson(all);
  return formatRows(format, all.map(toRow), {
    table: enrollmentColumns,
    csv: [...enrollmentColumns, 'replace', 'device', 'created_by', 'created_at', 'revoked_at'],
  });
}

const requestColumns = ['request_id', 'state', 'client_id', 'group', 'enrollment_id', 'created_at'];

export function formatRequests(all: readonly EnrollmentRequestView[], format: RowFormat): string {
  if (format === 'json') return formatJson(all);
  return formatRows(format, all.map(toRow), {
    table: requestColumns,
    csv: [...requestColumns, 'labels', 'reason', 'updated_at'],
  });
}

export function formatOne(one: EnrollmentView, format: RowFormat): string {
  if (format === 'json') return formatJson(one);
  return format === 'table' ? formatRecord(toRow(one)) : formatEnrollments([one], format);
}
