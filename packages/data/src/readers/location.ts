import { PeftError } from "@peftjs/core";

/** Where a row stands. */
export interface Location {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
}

/** A row that cannot be used: `file:line: what happened. what was expected`. */
export function invalidRow({ file, line }: Location, message: string, options?: ErrorOptions): PeftError {
  return new PeftError("DATA_ROW_INVALID", `${file}:${line}: ${message}`, options);
}

/** A value as an error shows it: short, whatever was in the file. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
