/** Refusals a minute of which the audit trail has rows, where nobody is named: a flood must not fill the disk. */
const MAX_RECORDED_PER_MINUTE = 60;
const MINUTE_MS = 60_000;

/** Whether a refusal at that moment is recorded. */
export function limitRecords(): (atMs: number) => boolean {
  let minute = 0;
  let inMinute = 0;
  return (atMs) => {
    const ofNow = Math.floor(atMs / MINUTE_MS);
    if (ofNow !== minute) {
      minute = ofNow;
      inMinute = 0;
    }
    inMinute += 1;
    return inMinute <= MAX_RECORDED_PER_MINUTE;
  };
}
