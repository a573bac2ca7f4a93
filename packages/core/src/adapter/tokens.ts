import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import { PeftError } from "../errors.ts";
import type { BaseModel } from "../model/model.ts";
import type { LayerSite } from "../model/site.ts";
import { int32, type HostTensor, type StoredTensor } from "../tensors.ts";
import { widen } from "../stored.ts";
import { didYouMean } from "../nearMisses.ts";
import { isInModules } from "../targeting.ts";
import { tiedNames } from "./tied.ts";

const Ids = z.array(z.int().nonnegative()).readonly();

/**
 * Rows of embedding tables that learn beside a method. Used by the schemas of methods that offer it:
 * `z.strictObject({ ...targetFields, ...tokenFields, rank: … })`.
 */
export const tokenFields = {
  trainableTokenIndices: z
    .union([Ids, z.record(z.string(), Ids).readonly()])
    .nullable()
    .default(null)
    .describe(
      "Tokens whose embedding rows are trained and saved, the rest of the table staying as it is: ids of the input embedding, or embedding module → ids.",
    ),
} as const;

/** Rows of one table that an adapter trains. Their values are the adapter's parameter `<path>.tokenRows` [m, d]. */
export interface TokenRows {
  /** Module path of the embedding. */
  readonly path: string;
  /** Names of the parameters that share the table: rows follow in all of them. */
  readonly tables: readonly string[];
  readonly ids: readonly number[];
  /** Which trained row stands for each row of the table, −1: its own. int32 [V]. */
  readonly places: HostTensor;
}

/** Short name of the rows among an adapter's parameters. */
export function tokenRowsName({ path }: Pick<TokenRows, "path">): string {
  return `${path}.tokenRows`;
}

/**
 * The rows that a config's `trainableTokenIndices` names.
 * @throws PeftError `MODULE_UNKNOWN` for a name that no embedding has, `CONFIG_INVALID` for ids outside the table, given twice, or
 * of a table that the adapter trains or adapts as a whole.
 */
export function resolveTokenRows(
  base: BaseModel,
  config: object,
  { sites, modulesToSave }: { readonly sites: readonly LayerSite[]; readonly modulesToSave: readonly string[] },
): readonly TokenRows[] {
  const { trainableTokenIndices: given = null } = config as {
    readonly trainableTokenIndices?: readonly number[] | Readonly<Record<string, readonly number[]>> | null;
  };
  if (given === null) return [];
  const tables = base.sites.filter(({ kind }) => kind === "embedding");
  const wanted = Array.isArray(given)
    ? tables.slice(0, 1).map((site) => [site, given as readonly number[]] as const)
    : Object.entries(given).flatMap(([name, ids]) => named(tables, name).map((site) => [site, ids] as const));
  if (wanted.length === 0) throw invalid("The model has no embedding whose rows could be trained.");
  return wanted.map(([site, ids]) => {
    if (sites.includes(site) || isInModules(site.path, modulesToSave)) {
      throw invalid(
        `"${site.path}" is adapted or trained as a whole by the same adapter. Leave it out of targetModules and modulesToSave, or drop its token ids.`,
      );
    }
    return {
      path: site.path,
      tables: tiedNames(base, site.weight),
      ids,
      places: places(site, ids),
    };
  });
}

function named(tables: readonly LayerSite[], name: string): LayerSite[] {
  const found = tables.filter(({ path }) => path === name || path.endsWith(`.${name}`));
  if (found.length > 0) return found;
  const paths = tables.map(({ path }) => path);
  const near = didYouMean(name, [...paths, ...paths.map((path) => path.split(".").at(-1) as string)]);
  throw new PeftError(
    "MODULE_UNKNOWN",
    `trainableTokenIndices names "${name}", but the model has no such embedding.${near} Embeddings: ${paths.join(", ")}.`,
  );
}

function places({ path, inFeatures }: LayerSite, ids: readonly number[]): HostTensor {
  const result = new Int32Array(inFeatures).fill(-1);
  if (ids.length === 0) throw invalid(`No token is named for "${path}".`);
  for (const [row, id] of ids.entries()) {
    if (!Number.isInteger(id) || id < 0 || id >= inFeatures) {
      throw invalid(
        `${id} is no row of "${path}", which has rows 0 to ${inFeatures - 1}. Resize the model's vocabulary first.`,
      );
    }
    if (result[id] !== -1) throw invalid(`Token ${id} is named twice for "${path}".`);
    result[id] = row;
  }
  return int32(result, [inFeatures]);
}

function invalid(message: string): PeftError {
  return new PeftError("CONFIG_INVALID", `trainableTokenIndices: ${message}`);
}

/** The rows as the base model has them, in float32. */
export function initialTokenRows(base: BaseModel, { tables, ids }: TokenRows): HostTensor {
  const table = widen(base.parameters.get(tables[0] as string) as StoredTensor);
  const width = table.shape[1] as number;
  const data = new Float32Array(ids.length * width);
  ids.forEach((id, row) => data.set(table.data.subarray(id * width, (id + 1) * width), row * width));
  return { dtype: "float32", shape: [ids.length, width], data };
}

/** A copy of a table [V, d] with trained rows in their places. */
export function replaceRows(table: HostTensor, ids: readonly number[], rows: HostTensor): HostTensor {
  const width = table.shape[1] as number;
  const data = Float32Array.from(table.data);
  ids.forEach((id, row) => data.set(rows.data.subarray(row * width, (row + 1) * width), id * width));
  return { dtype: "float32", shape: table.shape, data };
}

/**
 * y_i = R[p_i] where p_i ≥ 0, else x_i. x [n, d], places p int32 [n], rows R [m, d] → [n, d]. Only the rows that were used have a
 * gradient.
 */
export function withTokenRows(
  x: tf.Tensor2D,
  { places, rows }: { readonly places: tf.Tensor1D; readonly rows: tf.Tensor2D },
): tf.Tensor2D {
  const zero = tf.scalar(0, "int32");
  const trained = tf.reshape(tf.greaterEqual(places, zero), [-1, 1]);
  return tf.where(trained, tf.gather(rows, tf.maximum(places, zero)), x);
}
