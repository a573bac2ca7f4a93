import { didYouMean, PeftError } from "@peftjs/core";
import { invalidRow, shown } from "./readers/location.ts";
import type { LocatedRow } from "./readers/readRows.ts";
import { formatOf } from "./readers/readRows.ts";
import type { LabelScheme } from "./rows.ts";

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

/**
 * What the labels of a file mean. Names are classes in alphabetical order and whole numbers classes in numeric order; numbers
 * of which one is not whole are values (regression). Labels of CSV files count as numbers when all of them are.
 * With `kind`, the file must fit it.
 */
export function inferLabels(
  rows: readonly LocatedRow[],
  options: { readonly kind?: LabelScheme["kind"] } = {},
): LabelScheme {
  const labelled = rows.filter(({ row }) => row.label !== undefined);
  const first = labelled[0];
  if (first === undefined) {
    throw new PeftError(
      "DATA_LABELS_MISSING",
      `No row of "${rows[0]?.file ?? ""}" has a label. Training needs a "label" in every row.`,
    );
  }
  const textual = formatOf(first.file) !== "jsonl";
  const isNumber = ({ row: { label } }: LocatedRow): boolean =>
    typeof label === "number" || (textual && NUMBER.test((label ?? "").trim()));
  const numeric = isNumber(first);
  const odd = labelled.find((row) => isNumber(row) !== numeric);
  const allNumbers = numeric && odd === undefined;
  if (!textual && odd !== undefined) throw mixedLabels(first, odd);
  const values = allNumbers ? labelled.map(({ row }) => Number(row.label)) : [];
  const regression =
    options.kind === "regression" || (options.kind === undefined && values.some((value) => !Number.isInteger(value)));
  if (regression) {
    const name = labelled.find((row) => !isNumber(row));
    if (name !== undefined)
      throw invalidRow(
        name,
        `The label ${shown(name.row.label)} is not a number. Regression needs a number in every row.`,
      );
    return { kind: "regression", labels: [] };
  }
  const names = allNumbers
    ? [...new Set(values)].sort((a, b) => a - b).map(String)
    : [...new Set(labelled.map(({ row }) => String(row.label)))].sort();
  return { kind: "classification", labels: names };
}

function mixedLabels(first: LocatedRow, odd: LocatedRow): PeftError {
  return invalidRow(
    odd,
    `The label ${shown(odd.row.label)} is a ${typeof odd.row.label}, but that of line ${first.line} is a ${typeof first.row.label} (${shown(first.row.label)}). Use one type in the whole file.`,
  );
}

/** Number of a label's class, or its value for regression. Undefined when the label does not fit the scheme. */
export function labelValue(label: string | number, scheme: LabelScheme): number | undefined {
  if (scheme.kind === "regression") {
    if (typeof label === "number") return label;
    return NUMBER.test(label.trim()) ? Number(label) : undefined;
  }
  const index = scheme.labels.indexOf(String(label));
  if (index >= 0) return index;
  // "01" and "1.0" of a CSV file are the class 1.
  const numeric =
    typeof label === "string" && NUMBER.test(label.trim()) ? scheme.labels.indexOf(String(Number(label))) : -1;
  return numeric >= 0 ? numeric : undefined;
}

/** Throws `DATA_ROW_INVALID` for a label that the scheme does not know. */
export function checkLabel(located: LocatedRow, scheme: LabelScheme): void {
  const { label } = located.row;
  if (label === undefined || labelValue(label, scheme) !== undefined) return;
  if (scheme.kind === "regression") {
    throw invalidRow(located, `The label ${shown(label)} is not a number. Regression needs a number in every row.`);
  }
  const known = scheme.labels
    .slice(0, 30)
    .map((name) => `"${name}"`)
    .join(", ");
  const more = scheme.labels.length > 30 ? `, and ${scheme.labels.length - 30} more` : "";
  throw invalidRow(
    located,
    `Unknown label ${shown(label)}.${didYouMean(String(label), scheme.labels)} Expected one of ${known}${more}.`,
  );
}
