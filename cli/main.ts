import { CommanderError } from 'commander';
import { describeError, EXIT_USAGE, exitCodeOf } from './exit.ts';
import { createProgram } from './program.ts';

// A reader that goes away (`fleetgate client list | head`) is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

/** Time for what was written to be read. */
const LAST_WORDS_MS = 2_000;

try {
  const program = await createProgram(process.argv[2]);
  await program.parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    // commander has said what is wrong; 0 is --help and --version.
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  } else {
    process.stderr.write(`${describeError(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
  // What still holds the process then, as a connection that was never let in, has nobody to tell.
  setTimeout(() => process.exit(), LAST_WORDS_MS).unref();
}
