import { readFileSync } from "node:fs";

/** Beside `src` and beside `dist`. */
const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};

export const version = manifest.version;
