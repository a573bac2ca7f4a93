import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Runs an optional package for its effect, if it is installed; what it throws is thrown on. */
export async function importIfInstalled(name: string): Promise<boolean> {
  const file = findPackage(name);
  if (file !== undefined) await import(pathToFileURL(file).href);
  return file !== undefined;
}

/** Its main file, seen from here or, as pnpm shows a package to those only that name it, from where the program was started. */
function findPackage(name: string): string | undefined {
  for (const base of [import.meta.url, join(process.cwd(), "package.json")]) {
    try {
      return createRequire(base).resolve(name);
    } catch {
      // Not installed there.
    }
  }
  return undefined;
}
