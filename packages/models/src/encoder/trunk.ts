import { PeftError, type Forward, type Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { maskBias } from "../blocks/attention.ts";
import {
  postNormBlock,
  preNormBlock,
  selectRows,
  type BlockInput,
  type EncoderBlockSpec,
  type RowSelection,
} from "../blocks/encoderBlock.ts";
import { norm } from "../blocks/norm.ts";
import type { EncoderConfig } from "./config.ts";
import type { EncoderFamily } from "./family.ts";

export interface TrunkSpec {
  readonly family: EncoderFamily;
  readonly config: EncoderConfig;
  /** Path of the trunk, with its dot, or "". */
  readonly path: string;
  readonly select: RowSelection;
}

/**
 * Embeddings and blocks. batch: `input_ids` int32 [B, T], optionally `attention_mask`, `token_type_ids`, `position_ids` of
 * the same shape → the selected rows of the last hidden states, [B·T, H], [B, H] or [M, H].
 */
export function trunk(f: Forward, batch: Named<tf.Tensor>, { family, config, path, select }: TrunkSpec): tf.Tensor2D {
  const [rows, length] = inputShape(batch, family, config);
  const spec: EncoderBlockSpec = {
    heads: config.numAttentionHeads,
    batch: rows,
    length,
    epsilon: config.layerNormEps,
    activation: config.hiddenAct,
    hiddenDropout: config.hiddenDropoutProb,
    attentionDropout: config.attentionProbsDropoutProb,
  };
  const mask = batch["attention_mask"];
  const bias = mask === undefined ? null : maskBias(mask);
  const block = family.normOrder === "post" ? postNormBlock : preNormBlock;
  let x = embed(f, batch, { family, config, path });
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const last = i === config.numHiddenLayers - 1 && !f.everyPosition;
    const layer = `${path}encoder.layer.${i}`;
    x = runBlock(f, layer, { x, bias, select: last ? select : { kind: "all" } }, (input) =>
      block(f, layer, input, spec),
    );
  }
  if (config.numHiddenLayers === 0 || f.everyPosition) x = selectRows(x, select, spec);
  return family.normOrder === "pre" ? norm(f, `${path}LayerNorm`, x, config.layerNormEps) : x;
}

/** A block as the forward run sees it: with every tensor that it reads as an input. */
function runBlock(
  f: Forward,
  path: string,
  { x, bias, select }: BlockInput,
  run: (input: BlockInput) => tf.Tensor2D,
): tf.Tensor2D {
  const indices = select.kind === "rows" ? [select.indices] : [];
  const inputs = [x, ...(bias === null ? [] : [bias]), ...indices];
  return f.block(path, inputs, (first, ...others) =>
    run({
      x: first as tf.Tensor2D,
      bias: bias === null ? null : (others[0] as tf.Tensor4D),
      select: select.kind === "rows" ? { kind: "rows", indices: others.at(-1) as tf.Tensor1D } : select,
    }),
  );
}

/** drop(LN(word[id] + type[t] + position[p])): [B·T, H]. */
export function embed(
  f: Forward,
  batch: Named<tf.Tensor>,
  { family, config, path }: Omit<TrunkSpec, "select">,
): tf.Tensor2D {
  const ids = batch["input_ids"] as tf.Tensor2D;
  const [rows, length] = ids.shape;
  const words = f.embedding(`${path}embeddings.word_embeddings`, tf.reshape(ids, [rows * length])) as tf.Tensor2D;
  const types = typeRows(f, batch, { family, config, path });
  const positions = positionRows(f, batch, { family, config, path });
  // A row or a table of T rows is small: it is added to the other small one first, and once to the words.
  const sum =
    types.rank === 1 && positions.rank === 3
      ? addTable(words, tf.add(positions, types), rows)
      : addBoth(words, types, positions, rows);
  return f.dropout(
    norm(f, `${path}embeddings.LayerNorm`, sum, config.layerNormEps),
    config.hiddenDropoutProb,
  ) as tf.Tensor2D;
}

/** [B·T, H] from `token_type_ids`, or the row of type 0 as [H]. */
function typeRows(f: Forward, batch: Named<tf.Tensor>, { family, config, path }: Omit<TrunkSpec, "select">): tf.Tensor {
  const table = f.parameter(`${path}embeddings.token_type_embeddings.weight`) as tf.Tensor2D;
  const types = batch["token_type_ids"];
  if (!family.tokenTypes || types === undefined || config.typeVocabSize === 1) {
    return tf.reshape(tf.slice(table, [0, 0], [1, config.hiddenSize]), [config.hiddenSize]);
  }
  return tf.gather(table, tf.reshape(types, [types.size]));
}

/** [1, T, H] when every row has the positions 0…T−1, else [B·T, H]. */
function positionRows(
  f: Forward,
  batch: Named<tf.Tensor>,
  { family, config, path }: Omit<TrunkSpec, "select">,
): tf.Tensor {
  const table = f.parameter(`${path}embeddings.position_embeddings.weight`) as tf.Tensor2D;
  const ids = batch["input_ids"] as tf.Tensor2D;
  const [, length] = ids.shape;
  const given = batch["position_ids"];
  if (given === undefined && family.positions === "fromZero") {
    return tf.reshape(tf.slice(table, [0, 0], [length, config.hiddenSize]), [1, length, config.hiddenSize]);
  }
  return tf.gather(table, tf.reshape(given ?? positionsAfterPadding(ids, config.padTokenId), [ids.size]));
}

function addBoth(words: tf.Tensor2D, types: tf.Tensor, positions: tf.Tensor, rows: number): tf.Tensor2D {
  const typed = tf.add(words, types) as tf.Tensor2D;
  return positions.rank === 3 ? addTable(typed, positions, rows) : (tf.add(typed, positions) as tf.Tensor2D);
}

/** x [B·T, H] + table [1, T, H]. */
function addTable(x: tf.Tensor2D, table: tf.Tensor, rows: number): tf.Tensor2D {
  const [count, hidden] = x.shape;
  return tf.reshape(tf.add(tf.reshape(x, [rows, count / rows, hidden]), table), [count, hidden]);
}

/** p_t = pad + m_t·Σ_{u≤t} m_u with m_t = [id_t ≠ pad] (RoBERTa). ids int32 [B, T] → int32 [B, T]. */
export function positionsAfterPadding(ids: tf.Tensor2D, pad: number): tf.Tensor2D {
  const present = tf.cast(tf.notEqual(ids, tf.scalar(pad, "int32")), "int32");
  return tf.add(tf.mul(tf.cumsum(present, 1), present), tf.scalar(pad, "int32"));
}

function inputShape(batch: Named<tf.Tensor>, family: EncoderFamily, config: EncoderConfig): [number, number] {
  const ids = batch["input_ids"];
  if (ids === undefined || ids.rank !== 2 || ids.dtype !== "int32") {
    const got = ids === undefined ? "nothing" : `${ids.dtype} [${ids.shape.join(", ")}]`;
    throw new PeftError("SHAPE_MISMATCH", `The batch's input_ids must be int32 [batch, length], got ${got}.`);
  }
  const [rows, length] = ids.shape as [number, number];
  const limit = config.maxPositionEmbeddings - (family.positions === "afterPadding" ? config.padTokenId + 1 : 0);
  if (length > limit) {
    throw new PeftError(
      "SEQUENCE_TOO_LONG",
      `The batch has ${length} tokens per row, but the model has positions for ${limit}. Truncate to maxLength ${limit} or less.`,
    );
  }
  return [rows, length];
}
