import { didYouMean, PeftError } from "@peftjs/core";

/** Where an engine computes. */
export const DEVICES = ["cpu", "webgpu", "cuda"] as const;
export type Device = (typeof DEVICES)[number];

/** @throws PeftError `code` when `asked` is none of `choices`, with the nearest of them. */
export function expectOneOf<T extends string>(
  asked: string,
  { what, code, choices }: { readonly what: string; readonly code: string; readonly choices: readonly T[] },
): T {
  const found = choices.find((choice) => choice === asked);
  if (found !== undefined) return found;
  const list = choices.map((choice) => `"${choice}"`).join(", ");
  throw new PeftError(code, `No ${what} "${asked}".${didYouMean(asked, choices)} There are ${list}.`);
}
