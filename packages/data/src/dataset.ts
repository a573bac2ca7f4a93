import { PeftError } from "@peftjs/core";
import { checkLabel, inferLabels } from "./labels.ts";
import { invalidRow } from "./readers/location.ts";
import type { LocatedRow } from "./readers/readRows.ts";
import { readRows } from "./readers/readRows.ts";
import type { DataRow, LabelScheme } from "./rows.ts";

export interface Dataset {
  readonly file: string;
  readonly rows: readonly DataRow[];
  /** Undefined when no row has a label. */
  readonly scheme: LabelScheme | undefined;
}

export interface DatasetOptions {
  /** Labels that are known already (of the training file, of the model): others are errors. Default: inferred from the file. */
  readonly scheme?: LabelScheme;
  /** What inferred labels mean. Default: regression when a label is a number that is not whole. */
  readonly kind?: LabelScheme["kind"];
  /** `required` (default): every row has one. `optional`: all rows or none. `ignored`: labels are dropped. */
  readonly labels?: "required" | "optional" | "ignored";
}

/**
 * Reads a file of the user and checks its labels. Throws `DATA_NOT_FOUND`, `DATA_FORMAT_UNKNOWN`, `DATA_EMPTY`,
 * `DATA_LABELS_MISSING` and, naming file and line, `DATA_ROW_INVALID`.
 */
export async function readDataset(file: string, options: DatasetOptions = {}): Promise<Dataset> {
  const located: LocatedRow[] = [];
  for await (const row of readRows(file)) located.push(row);
  if (located.length === 0) {
    throw new PeftError("DATA_EMPTY", `"${file}" has no rows. Expected at least one, as {"text": "…", "label": "…"}.`);
  }
  const { labels = "required" } = options;
  if (labels === "ignored")
    return { file, rows: located.map(({ row: { label: _, ...row } }) => row), scheme: undefined };
  const rows = located.map(({ row }) => row);
  const labelled = located.filter(({ row }) => row.label !== undefined);
  if (labelled.length === 0 && labels === "optional") return { file, rows, scheme: undefined };
  const scheme = options.scheme ?? inferLabels(located, options.kind === undefined ? {} : { kind: options.kind });
  const bare = located.find(({ row }) => row.label === undefined);
  if (bare !== undefined) throw missingLabel(bare, labelled.length);
  for (const row of located) checkLabel(row, scheme);
  return { file, rows, scheme };
}

function missingLabel(row: LocatedRow, labelled: number): PeftError {
  return invalidRow(row, `The row has no label, while ${labelled} others have one. Expected a "label" in every row.`);
}
