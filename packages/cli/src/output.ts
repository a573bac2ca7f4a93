import { existsSync, readdirSync } from "node:fs";
import { PeftError, writeFolderAtomic } from "@peftjs/core";

/** Throws `OUT_EXISTS` before any work is done, so that nothing is overwritten by accident. */
export function checkOut(out: string, overwrite: boolean): void {
  if (overwrite || !existsSync(out)) return;
  if (isEmptyFolder(out)) return;
  throw new PeftError(
    "OUT_EXISTS",
    `"${out}" exists already and is not an empty folder. Choose another --out, or replace it with --overwrite.`,
  );
}

function isEmptyFolder(path: string): boolean {
  try {
    return readdirSync(path).length === 0;
  } catch {
    return false;
  }
}

/** Fills the folder `out` in one step: it is complete or it is not there. */
export function writeOut(out: string, fill: (folder: string) => Promise<void>): Promise<void> {
  return writeFolderAtomic(out, fill);
}
