import { createReadStream, statSync } from "node:fs";
import { PeftError } from "@peftjs/core";
import type { DataRow } from "../rows.ts";
import { readCsv } from "./csv.ts";
import { readJsonl } from "./jsonl.ts";
import type { Location } from "./location.ts";

/** A row and where it stands. */
export interface LocatedRow extends Location {
  readonly row: DataRow;
}

export type DataFormat = "jsonl" | "csv" | "tsv";

const EXTENSIONS: Readonly<Record<string, DataFormat>> = { jsonl: "jsonl", ndjson: "jsonl", csv: "csv", tsv: "tsv" };

/**
 * Reads a file row by row, without holding it: JSONL (`.jsonl`, `.ndjson`), CSV or TSV with a header row.
 * Throws `DATA_NOT_FOUND`, `DATA_FORMAT_UNKNOWN` and, naming file and line, `DATA_ROW_INVALID`.
 */
export async function* readRows(file: string): AsyncGenerator<LocatedRow> {
  const format = formatOf(file);
  checkFile(file);
  const stream = createReadStream(file, { encoding: "utf8" });
  try {
    if (format === "jsonl") yield* readJsonl(stream, file);
    else yield* readCsv(stream, { file, delimiter: format === "tsv" ? "\t" : "," });
  } finally {
    stream.destroy();
  }
}

/** By the end of the name. */
export function formatOf(file: string): DataFormat {
  const extension = /\.([^./\\]+)$/.exec(file)?.[1]?.toLowerCase() ?? "";
  const format = Object.hasOwn(EXTENSIONS, extension) ? EXTENSIONS[extension] : undefined;
  if (format !== undefined) return format;
  throw new PeftError(
    "DATA_FORMAT_UNKNOWN",
    `Cannot tell the format of "${file}" by its name. Expected ${Object.keys(EXTENSIONS)
      .map((name) => `.${name}`)
      .join(", ")}: rename the file.`,
  );
}

function checkFile(file: string): void {
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats?.isFile() === true) return;
  const problem = stats === undefined ? "does not exist" : "is not a file";
  throw new PeftError(
    "DATA_NOT_FOUND",
    `The data file "${file}" ${problem}. Check the path; it is taken from "${process.cwd()}".`,
  );
}
