import { didYouMean, PeftError } from "@peftjs/core";

export interface UnknownName {
  readonly code: string;
  /** What has such names: "task". */
  readonly what: string;
  readonly name: string;
  readonly known: readonly string[];
}

/** The error for a name that nothing has, with near misses and all names that are known. */
export function unknownName({ code, what, name, known }: UnknownName): PeftError {
  return new PeftError(code, `There is no ${what} "${name}".${didYouMean(name, known)} Known: ${known.join(", ")}.`);
}
