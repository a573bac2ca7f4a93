import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readDataset } from "../dataset.ts";
import { readRows } from "./readRows.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "peftjs-data-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function rowsOf(path: string) {
  const rows = [];
  for await (const { line, row } of readRows(path)) rows.push({ line, ...row });
  return rows;
}

describe("readRows", () => {
  it("reads JSONL with any of the column names, a byte order mark, empty lines and CRLF", async () => {
    const path = file(
      "a.jsonl",
      '\uFEFF{"text":"a","label":1}\r\n\r\n{"sentence":"b","label":"x"}\n{"sentence1":"c","sentence2":"d"}',
    );
    expect(await rowsOf(path)).toEqual([
      { line: 1, text: "a", label: 1 },
      { line: 3, text: "b", label: "x" },
      { line: 4, text: "c", textPair: "d" },
    ]);
  });

  it("reads CSV with quotes, line breaks in fields and empty fields", async () => {
    const path = file("a.csv", 'sentence1,text_pair,label\n"a, b","c ""d""",yes\n"two\nlines",,no\n');
    expect(await rowsOf(path)).toEqual([
      { line: 2, text: "a, b", textPair: 'c "d"', label: "yes" },
      { line: 4, text: "two\nlines", label: "no" },
    ]);
  });

  it("reads TSV", async () => {
    expect(await rowsOf(file("a.tsv", "text\tlabel\na, b\t1\n"))).toEqual([{ line: 2, text: "a, b", label: "1" }]);
  });

  it.each([
    ["bad.jsonl", '{"text":"a"}\n{"text":', 2, "Not valid JSON"],
    ["array.jsonl", '["a"]', 1, "Expected a JSON object"],
    ["empty-text.jsonl", '{"text":"  "}', 1, "not empty"],
    ["no-text.jsonl", '{"text":"a"}\n\n{"txt":"b"}', 3, 'column "text", "sentence" or "sentence1"'],
    ["number.jsonl", '{"text":5}', 1, "must be a string"],
    ["object-label.jsonl", '{"text":"a","label":{"a":1}}', 1, "label must be a string or a number"],
    ["bool-label.jsonl", '{"text":"a","label":true}', 1, 'Write it as "true"'],
    ["no-text.csv", "a,b\n1,2\n", 2, "has no text"],
    ["fields.csv", "text,label\na,b\nc,d,e\n", 3, "Not valid CSV"],
    ["quote.csv", 'text,label\na,b\n"c,d\n', 3, "Not valid CSV"],
  ])("names file and line in %s", async (name, content, line, message) => {
    const path = file(name, content);
    const error = await rowsOf(path).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "DATA_ROW_INVALID" });
    expect(String(error)).toContain(`${path}:${line}: `);
    expect(String(error)).toContain(message);
  });

  it("refuses missing files, folders and unknown formats", async () => {
    await expect(rowsOf(join(folder, "none.jsonl"))).rejects.toMatchObject({ code: "DATA_NOT_FOUND" });
    await expect(rowsOf(file("a.xlsx", ""))).rejects.toMatchObject({ code: "DATA_FORMAT_UNKNOWN" });
    await expect(rowsOf(folder)).rejects.toMatchObject({ code: "DATA_FORMAT_UNKNOWN" });
  });

  it("holds one row at a time of a large file", async () => {
    const path = file("large.jsonl", `{"text":"${"word ".repeat(200)}","label":0}\n`.repeat(20_000));
    let rows = 0;
    for await (const _ of readRows(path)) rows++;
    expect(rows).toBe(20_000);
  });
});

describe("readDataset", () => {
  it("infers sorted classes", async () => {
    const names = await readDataset(file("names.jsonl", '{"text":"a","label":"b"}\n{"text":"a","label":"a"}'));
    expect(names.scheme).toEqual({ kind: "classification", labels: ["a", "b"] });
    const numbers = await readDataset(file("numbers.jsonl", '{"text":"a","label":10}\n{"text":"a","label":9}'));
    expect(numbers.scheme).toEqual({ kind: "classification", labels: ["9", "10"] });
    const csv = await readDataset(file("numbers.csv", "text,label\na,10\nb,9\n"));
    expect(csv.scheme).toEqual({ kind: "classification", labels: ["9", "10"] });
    const mixed = await readDataset(file("mixed.csv", "text,label\na,1\nb,x\n"));
    expect(mixed.scheme).toEqual({ kind: "classification", labels: ["1", "x"] });
  });

  it("takes numbers for values when one is not whole, or when asked", async () => {
    const regression = { kind: "regression", labels: [] };
    expect((await readDataset(file("r.jsonl", '{"text":"a","label":1}\n{"text":"b","label":0.5}'))).scheme).toEqual(
      regression,
    );
    expect((await readDataset(file("r.csv", "text,label\na,1\nb,0.5\n"))).scheme).toEqual(regression);
    expect((await readDataset(file("r2.csv", "text,label\na,1\nb,2\n"), { kind: "regression" })).scheme).toEqual(
      regression,
    );
  });

  it.each([
    [
      "mix.jsonl",
      '{"text":"a","label":"x"}\n{"text":"b","label":2}',
      {},
      2,
      "is a number, but that of line 1 is a string",
    ],
    [
      "unknown.jsonl",
      '{"text":"a","label":"entailmnt"}',
      { scheme: { kind: "classification", labels: ["entailment", "neutral"] } },
      1,
      'Did you mean "entailment"',
    ],
    ["notnumber.jsonl", '{"text":"a","label":"x"}', { scheme: { kind: "regression", labels: [] } }, 1, "not a number"],
    ["asked.jsonl", '{"text":"a","label":"x"}', { kind: "regression" }, 1, "not a number"],
    ["bare.jsonl", '{"text":"a","label":"x"}\n{"text":"b"}', {}, 2, "has no label"],
    ["bare2.jsonl", '{"text":"a","label":"x"}\n{"text":"b"}', { labels: "optional" }, 2, "has no label"],
  ] as const)("names file and line in %s", async (name, content, options, line, message) => {
    const path = file(name, content);
    const error = await readDataset(path, options).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "DATA_ROW_INVALID" });
    expect(String(error)).toContain(`${path}:${line}: `);
    expect(String(error)).toContain(message);
  });

  it("reads texts without labels when told so", async () => {
    const path = file("texts.jsonl", '{"text":"a"}\n{"text":"b"}');
    await expect(readDataset(path)).rejects.toMatchObject({ code: "DATA_LABELS_MISSING" });
    expect(await readDataset(path, { labels: "optional" })).toEqual({
      file: path,
      rows: [{ text: "a" }, { text: "b" }],
      scheme: undefined,
    });
    const odd = file("odd.jsonl", '{"text":"a","label":1}\n{"text":"b","label":"x"}');
    expect((await readDataset(odd, { labels: "ignored" })).rows).toEqual([{ text: "a" }, { text: "b" }]);
    await expect(readDataset(file("nothing.csv", "text,label\n"))).rejects.toMatchObject({ code: "DATA_EMPTY" });
  });
});
