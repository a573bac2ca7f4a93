import type { Readable } from "node:stream";
import { CsvError, parse } from "csv-parse";
import { rowFromFields } from "./fields.ts";
import { invalidRow } from "./location.ts";
import type { LocatedRow } from "./readRows.ts";

interface Item {
  readonly info: { readonly lines: number };
  readonly record: Readonly<Record<string, string>>;
}

/** Rows of a CSV stream with a header row. An empty pair or label is a missing one. */
export async function* readCsv(
  stream: Readable,
  options: { readonly file: string; readonly delimiter: string },
): AsyncGenerator<LocatedRow> {
  const { file, delimiter } = options;
  const parser = parse({ columns: true, bom: true, info: true, skip_empty_lines: true, delimiter });
  stream.on("error", (error) => parser.destroy(error));
  stream.pipe(parser);
  let line = 1;
  try {
    for await (const { info, record } of parser as AsyncIterable<Item>) {
      line = info.lines;
      const fields = Object.entries(record).map(([name, value]) => [
        name.trim(),
        isText(name) || value !== "" ? value : null,
      ]);
      yield {
        file,
        line,
        row: rowFromFields(Object.fromEntries(fields) as Record<string, string | null>, { file, line }),
      };
    }
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    const at = typeof cause["lines"] === "number" ? cause["lines"] : line;
    throw invalidRow(
      { file, line: at },
      `Not valid CSV: ${cause.message}. Expected a header row, then as many fields in every row, quoted where they hold "${delimiter}" or line breaks.`,
      { cause },
    );
  } finally {
    stream.destroy();
  }
}

function isText(name: string): boolean {
  return ["text", "sentence", "sentence1"].includes(name.trim());
}
