import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolders } from "@peftjs/testkit";
import { beforeAll } from "vitest";
import { writeTinyModel } from "./tinyModel.ts";

export const jsonl = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

/** A folder for the tests of a file, with a model and with rows of labels and of values; gives paths in it. */
export function workspace(): (name: string) => string {
  const fresh = scratchFolders();
  let folder: string;
  const at = (name: string): string => join(folder, name);
  beforeAll(async () => {
    folder = fresh();
    await writeTinyModel(at("model"));
    const rows = Array.from({ length: 48 }, (_, i) => ({
      text: `${i % 2 === 0 ? "good" : "bad"} film ${"abcdef"[i % 6]!}`,
      label: i % 2 === 0 ? "positive" : "negative",
    }));
    writeFileSync(at("train.jsonl"), jsonl(rows));
    writeFileSync(at("dev.jsonl"), jsonl(rows.slice(0, 12)));
    writeFileSync(
      at("values.csv"),
      `text,label\n${rows.map(({ text, label }) => `${text},${label === "positive" ? 0.5 : -0.25}`).join("\n")}\n`,
    );
  });
  return at;
}
