import type { DataRow } from "../rows.ts";
import { invalidRow, shown } from "./location.ts";
import type { Location } from "./location.ts";

/** Accepted names of the columns; the first one present counts. */
const COLUMNS = {
  text: ["text", "sentence", "sentence1"],
  textPair: ["textPair", "text_pair", "sentence2"],
  label: ["label"],
} as const;

/** For error messages. */
export const EXPECTED_ROW =
  'Expected a text (column "text", "sentence" or "sentence1"), optionally a second one ("textPair", "text_pair" or "sentence2") and a "label".';

/** Picks text, pair and label out of a record. */
export function rowFromFields(fields: Readonly<Record<string, unknown>>, at: Location): DataRow {
  const text = pick(fields, COLUMNS.text);
  if (text === undefined) {
    const names = Object.keys(fields);
    throw invalidRow(
      at,
      `The row has no text; its columns are ${names.length === 0 ? "none" : shown(names.join(", "))}. ${EXPECTED_ROW}`,
    );
  }
  if (typeof text !== "string" || text.trim() === "") {
    throw invalidRow(at, `The text must be a string that is not empty, got ${shown(text)}. ${EXPECTED_ROW}`);
  }
  const textPair = pick(fields, COLUMNS.textPair);
  if (textPair !== undefined && typeof textPair !== "string") {
    throw invalidRow(at, `The second text must be a string, got ${shown(textPair)}. ${EXPECTED_ROW}`);
  }
  const label = pick(fields, COLUMNS.label);
  if (label !== undefined && typeof label !== "string" && !(typeof label === "number" && Number.isFinite(label))) {
    throw invalidRow(
      at,
      `The label must be a string or a number, got ${shown(label)}. Write it as "${String(label)}" or as a number.`,
    );
  }
  return { text, ...(textPair === undefined ? {} : { textPair }), ...(label === undefined ? {} : { label }) };
}

/** Missing and null are the same. */
function pick(fields: Readonly<Record<string, unknown>>, names: readonly string[]): unknown {
  const name = names.find((candidate) => Object.hasOwn(fields, candidate) && fields[candidate] !== null);
  return name === undefined ? undefined : fields[name];
}
