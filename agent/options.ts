import { nearest } from '@fleetgate/shared';

/**
 * The options, frozen; a misspelled one would be ignored, so it is refused.
 * @throws TypeError that names the unknown option and the nearest known one
 */
export function checkOptions<Options extends object>(
  options: Options,
  known: readonly (keyof Options & string)[],
): Readonly<Options> {
  for (const key of Object.keys(options)) {
    if ((known as readonly string[]).includes(key)) continue;
    const near = nearest(key, known);
    throw new TypeError(
      `unknown option ${key}; ${near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`}`,
    );
  }
  return Object.freeze({ ...options });
}

/**
 * `value`, or its default, when it is a whole number within the bounds.
 * @throws TypeError that names the option
 */
export function wholeNumber(
  name: string,
  value: number | undefined,
  standard: number,
  bounds: { min: number; max: number },
): number {
  const number = value ?? standard;
  if (!Number.isSafeInteger(number) || number < bounds.min || number > bounds.max) {
    throw new TypeError(`${name} must be a whole number from ${bounds.min} to ${bounds.max}`);
  }
  return number;
}

/**
 * `value`, or the first of the choices.
 * @throws TypeError that names the option
 */
export function oneOf<Choice extends string>(
  name: string,
  value: Choice | undefined,
  choices: readonly [Choice, ...Choice[]],
): Choice {
  const choice = value ?? choices[0];
  if (!choices.includes(choice)) throw new TypeError(`${name} must be one of ${choices.join(', ')}`);
  return choice;
}
