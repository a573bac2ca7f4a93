import { PeftError } from "@peftjs/core";
import { labelValue } from "../labels.ts";
import type { DataRow, LabelScheme } from "../rows.ts";

/** A tokenized text, special tokens included, without padding. */
export interface Encoded {
  readonly inputIds: ArrayLike<number>;
  /** Default: all zero. */
  readonly tokenTypeIds?: ArrayLike<number>;
}

export interface Example extends Encoded {
  /** Number of the class, or the value for regression. */
  readonly label?: number;
}

/** Any tokenizer: a text or a pair to ids, truncated to what the model takes. */
export type Encode = (text: string, textPair?: string) => Encoded;

/** Tokenizes rows and numbers their labels. */
export function encodeRows(
  rows: readonly DataRow[],
  options: { readonly encode: Encode; readonly scheme?: LabelScheme | undefined },
): Example[] {
  return rows.map(({ text, textPair, label }, row) => {
    const { inputIds, tokenTypeIds } = options.encode(text, textPair);
    const encoded: Encoded = tokenTypeIds === undefined ? { inputIds } : { inputIds, tokenTypeIds };
    if (options.scheme === undefined || label === undefined) return encoded;
    const value = labelValue(label, options.scheme);
    if (value === undefined) {
      throw new PeftError(
        "LABEL_UNKNOWN",
        `Row ${row} has the label ${JSON.stringify(label)}. Expected one of ${options.scheme.labels.join(", ")}.`,
      );
    }
    return { ...encoded, label: value };
  });
}
