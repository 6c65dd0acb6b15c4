import type { Reporter, TestCase } from 'vitest/node';

/** Prints `N passed, N failed, N skipped` as the last line, for tools that read the end of the output. */
export default class SummaryReporter implements Reporter {
  readonly #counts = { passed: 0, failed: 0, skipped: 0 };

  onTestCaseResult(test: TestCase): void {
    const { state } = test.result();
    if (state !== 'pending') this.#counts[state] += 1;
  }

  onTestRunEnd(_modules: unknown, unhandledErrors: readonly unknown[], reason: string): void {
    const { passed, failed, skipped } = this.#counts;
    // A run can fail without a failed test: an unhandled error, a file that does not load.
    const broken = reason === 'failed' && failed === 0 ? Math.max(1, unhandledErrors.length) : failed;
    process.once('exit', () => {
      process.stdout.write(`${passed} passed, ${broken} failed, ${skipped} skipped\n`);
    });
  }
}
