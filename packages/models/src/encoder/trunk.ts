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
import { padFront, placement, selectAmongAll, withVirtual, type Placement } from "./virtualTokens.ts";

export interface TrunkSpec {
  readonly family: EncoderFamily;
  readonly config: EncoderConfig;
  /** Path of the trunk, with its dot, or "". */
  readonly path: string;
  readonly select: RowSelection;
}

/**
 * Embeddings and blocks. batch: `input_ids` int32 [B, T], optionally `attention_mask`, `token_type_ids`, `position_ids` of
 * the same shape → the selected rows of the last hidden states, [B·(n + T), H], [B, H] or [M, H].
 *
 * With n virtual tokens in front, as in the Python library: every row attends to them, they are of type 0, and "first" is the first of
 * them. Positions are counted from the first one, padding included (RoBERTa's too), or go on behind those of m keys and values.
 */
export function trunk(f: Forward, batch: Named<tf.Tensor>, { family, config, path, select }: TrunkSpec): tf.Tensor2D {
  const virtual = f.virtualTokens();
  const place = placement(inputShape(batch), virtual);
  requirePositions(place, family, config);
  const { rows } = place;
  const length = place.virtual + place.tokens;
  const chosen = selectAmongAll(select, place);
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
  const bias = mask === undefined ? null : maskBias(padFront(mask, place.prefix + place.virtual, 1));
  const block = family.normOrder === "post" ? postNormBlock : preNormBlock;
  let x = embed(f, batch, { family, config, path, place, virtual: virtual.embeddings });
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const last = i === config.numHiddenLayers - 1 && !f.everyPosition;
    const layer = `${path}encoder.layer.${i}`;
    const prefix = virtual.keysValues === null ? null : blockPrefix(virtual.keysValues, i);
    x = runBlock(f, layer, { x, bias, prefix, select: last ? chosen : { kind: "all" } }, (input) =>
      block(f, layer, input, spec),
    );
  }
  if (config.numHiddenLayers === 0 || f.everyPosition) x = selectRows(x, chosen, spec);
  return family.normOrder === "pre" ? norm(f, `${path}LayerNorm`, x, config.layerNormEps) : x;
}

/** A block as the forward run sees it: with every tensor that it reads as an input. */
function runBlock(
  f: Forward,
  path: string,
  { x, bias, prefix, select }: BlockInput,
  run: (input: BlockInput) => tf.Tensor2D,
): tf.Tensor2D {
  const optional = [bias, prefix, select.kind === "rows" ? select.indices : null];
  return f.block(path, [x, ...optional.filter((tensor) => tensor !== null)], (first, ...others) => {
    const [ownBias, ownPrefix, indices] = optional.map((tensor) => (tensor === null ? null : others.shift()));
    return run({
      x: first as tf.Tensor2D,
      bias: ownBias as tf.Tensor4D | null,
      prefix: ownPrefix as tf.Tensor3D | null,
      select: select.kind === "rows" ? { kind: "rows", indices: indices as tf.Tensor1D } : select,
    });
  });
}

/** Keys and values of one block, [blocks, 2, m, H] → [2, m, H]. */
function blockPrefix(keysValues: tf.Tensor4D, block: number): tf.Tensor3D {
  const [, , count, features] = keysValues.shape;
  return tf.reshape(tf.slice(keysValues, [block, 0, 0, 0], [1, 2, count, features]), [2, count, features]);
}

interface EmbedSpec extends Omit<TrunkSpec, "select"> {
  readonly place: Placement;
  /** Word embeddings in front of the batch's, [n, H]. */
  readonly virtual: tf.Tensor2D | null;
}

/** drop(LN(word[id] + type[t] + position[p])): [B·(n + T), H]. */
function embed(f: Forward, batch: Named<tf.Tensor>, spec: EmbedSpec): tf.Tensor2D {
  const { config, path, place } = spec;
  const { rows, tokens } = place;
  const ids = tf.reshape(batch["input_ids"] as tf.Tensor2D, [rows * tokens]);
  const own = f.embedding(`${path}embeddings.word_embeddings`, ids) as tf.Tensor2D;
  const words = withVirtual(own, spec.virtual, place);
  const types = typeRows(f, batch, spec);
  const positions = positionRows(f, batch, spec);
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

/** [B·(n + T), H] from `token_type_ids`, or the row of type 0 as [H]. */
function typeRows(f: Forward, batch: Named<tf.Tensor>, { family, config, path, place }: EmbedSpec): tf.Tensor {
  const table = f.parameter(`${path}embeddings.token_type_embeddings.weight`) as tf.Tensor2D;
  const types = batch["token_type_ids"];
  if (!family.tokenTypes || types === undefined || config.typeVocabSize === 1) {
    return tf.reshape(tf.slice(table, [0, 0], [1, config.hiddenSize]), [config.hiddenSize]);
  }
  const all = padFront(types, place.virtual, 0);
  return tf.gather(table, tf.reshape(all, [all.size]));
}

/** [1, n + T, H] when every row has the same positions, one after another, else [B·(n + T), H]. */
function positionRows(f: Forward, batch: Named<tf.Tensor>, { family, config, path, place }: EmbedSpec): tf.Tensor {
  const table = f.parameter(`${path}embeddings.position_embeddings.weight`) as tf.Tensor2D;
  const { rows, tokens, virtual, prefix } = place;
  const given = batch["position_ids"];
  const start = firstPosition(family, config) + prefix;
  if (given === undefined && (family.positions === "fromZero" || virtual > 0)) {
    const length = virtual + tokens;
    return tf.reshape(tf.slice(table, [start, 0], [length, config.hiddenSize]), [1, length, config.hiddenSize]);
  }
  const own =
    given === undefined
      ? positionsAfterPadding(batch["input_ids"] as tf.Tensor2D, config.padTokenId, prefix)
      : shifted(given, virtual + prefix);
  const all = virtual === 0 ? own : tf.concat([consecutive(start, [rows, virtual]), own], 1);
  return tf.gather(table, tf.reshape(all, [all.size]));
}

/** int32 [B, n]: in every row the positions start, start + 1, … */
function consecutive(start: number, [rows, count]: [number, number]): tf.Tensor {
  return tf.tile(tf.reshape(tf.range(start, start + count, 1, "int32"), [1, count]), [rows, 1]);
}

/** The position of a row's first token. */
function firstPosition(family: EncoderFamily, config: EncoderConfig): number {
  return family.positions === "afterPadding" ? config.padTokenId + 1 : 0;
}

/** Positions moved by a number of others in front of them. */
function shifted(positions: tf.Tensor, count: number): tf.Tensor {
  return count === 0 ? positions : tf.add(positions, tf.scalar(count, "int32"));
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

/** p_t = pad + m_t·(k + Σ_{u≤t} m_u) with m_t = [id_t ≠ pad] (RoBERTa), behind k others. ids int32 [B, T] → int32 [B, T]. */
export function positionsAfterPadding(ids: tf.Tensor2D, pad: number, before = 0): tf.Tensor2D {
  const present = tf.cast(tf.notEqual(ids, tf.scalar(pad, "int32")), "int32");
  const places = shifted(tf.cumsum(present, 1), before);
  return tf.add(tf.mul(places, present), tf.scalar(pad, "int32"));
}

function inputShape(batch: Named<tf.Tensor>): [number, number] {
  const ids = batch["input_ids"];
  if (ids === undefined || ids.rank !== 2 || ids.dtype !== "int32") {
    const got = ids === undefined ? "nothing" : `${ids.dtype} [${ids.shape.join(", ")}]`;
    throw new PeftError("SHAPE_MISMATCH", `The batch's input_ids must be int32 [batch, length], got ${got}.`);
  }
  return ids.shape as [number, number];
}

function requirePositions({ tokens, virtual, prefix }: Placement, family: EncoderFamily, config: EncoderConfig): void {
  const positions = config.maxPositionEmbeddings - firstPosition(family, config);
  const taken = virtual + prefix;
  const limit = positions - taken;
  if (tokens <= limit) return;
  const less = taken === 0 ? "" : `, of which adapters take ${taken} in front of it`;
  const remedy = limit > 0 ? `Truncate to maxLength ${limit} or less.` : "Take fewer virtual tokens.";
  throw new PeftError(
    "SEQUENCE_TOO_LONG",
    `The batch has ${tokens} tokens per row, but the model has positions for ${positions}${less}. ${remedy}`,
  );
}
