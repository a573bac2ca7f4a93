import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { EXPECTED_ROW, rowFromFields } from "./fields.ts";
import { invalidRow, shown } from "./location.ts";
import type { LocatedRow } from "./readRows.ts";

/** Rows of a JSONL stream: one object a line; empty lines are skipped. */
export async function* readJsonl(stream: Readable, file: string): AsyncGenerator<LocatedRow> {
  let line = 0;
  for await (const text of createInterface({ input: stream, crlfDelay: Infinity })) {
    line++;
    const content = line === 1 ? text.replace(/^\uFEFF/, "") : text;
    if (content.trim() === "") continue;
    const at = { file, line };
    yield { ...at, row: rowFromFields(parseLine(content, at), at) };
  }
}

function parseLine(content: string, at: { file: string; line: number }): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (cause) {
    throw invalidRow(
      at,
      `Not valid JSON: ${shown(content)}. Expected one JSON object a line, as {"text": "…", "label": "…"}.`,
      { cause },
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidRow(at, `Expected a JSON object, got ${shown(value)}. ${EXPECTED_ROW}`);
  }
  return value as Record<string, unknown>;
}
