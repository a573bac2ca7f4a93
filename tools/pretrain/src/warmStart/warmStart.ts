import { createRandom } from "../random.ts";
import { SPECIAL_TOKENS } from "../vocabulary/train.ts";
import { positiveMutualInformation } from "./cooccurrence.ts";
import { scaledLeftVectors } from "./svd.ts";

export interface StartTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface WarmStartOptions {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly vocabularySize: number;
  /** Rows of the position table, those before `positionOffset` included. */
  readonly positions: number;
  /** Ids of the corpus; special tokens separate paragraphs. */
  readonly tokens: Uint16Array;
  readonly seed: number;
  /** Row of the first position: 0 for BERT, the pad id + 1 for RoBERTa. */
  readonly positionOffset?: number;
}

const EMBEDDING_STD = 0.04;
const POSITION_AMPLITUDE = 0.12;
const LOWEST_FREQUENCY = 64;
const HEAD_GAIN = 1.3;
/** Half of the usual 0.02. */
const PROJECTION_STD = 0.01;
/** Special tokens and words without neighbours start like an ordinary model. */
const PLAIN_STD = 0.02;

/** Where the heads of a layer look at the start, in tokens. Deeper layers and further heads begin again. */
const HEAD_OFFSETS = [
  [-1, 1, -2, 2],
  [-1, 1, 0, 3],
  [-3, 2, -1, 1],
  [-1, 1, -2, 4],
] as const;

/**
 * Start values that take masked-LM training off the unigram plateau and leave the architecture ordinary: token embeddings
 * from PPMI and SVD, position pairs (cos, sin)(p·w_f), w_f = 64^(-f/(P/2)), in the last P = hidden/4 coordinates, and in every
 * head a key that reads those pairs and a query that reads them turned by d·w_f, so that the head looks at neighbour d.
 * Everything else of the model is left to its usual initialization.
 */
export function warmStart(options: WarmStartOptions): Record<string, StartTensor> {
  const random = createRandom(options.seed);
  const { hidden, vocabularySize, layers } = options;
  const tensors: Record<string, StartTensor> = {
    "embeddings.word_embeddings.weight": { shape: [vocabularySize, hidden], data: tokenEmbeddings(options, random) },
    "embeddings.position_embeddings.weight": { shape: [options.positions, hidden], data: positionEmbeddings(options) },
  };
  for (let layer = 0; layer < layers; layer++) {
    for (const projection of ["query", "key"] as const) {
      const data = new Float32Array(hidden * hidden).map(() => PROJECTION_STD * random.normal());
      addPositionReader(data, { ...options, layer, projection });
      tensors[`encoder.layer.${layer}.attention.self.${projection}.weight`] = { shape: [hidden, hidden], data };
    }
  }
  return tensors;
}

function positionWidth(hidden: number): number {
  return hidden / 4;
}

function tokenEmbeddings(options: WarmStartOptions, random: ReturnType<typeof createRandom>): Float32Array {
  const { hidden, vocabularySize } = options;
  const rank = hidden - positionWidth(hidden);
  const matrix = positiveMutualInformation({
    tokens: options.tokens,
    vocabularySize,
    firstWord: SPECIAL_TOKENS.length,
  });
  const vectors = scaledLeftVectors(matrix, { rank, random });
  const meanSquare = vectors.reduce((sum, value) => sum + value * value, 0) / vectors.length;
  const scale = EMBEDDING_STD / Math.sqrt(meanSquare);
  const embeddings = new Float32Array(vocabularySize * hidden);
  for (let word = 0; word < vocabularySize; word++) {
    const known = matrix.rowStart[word + 1] !== matrix.rowStart[word];
    for (let j = 0; j < rank; j++) {
      embeddings[word * hidden + j] = known
        ? scale * (vectors[word * rank + j] as number)
        : PLAIN_STD * random.normal();
    }
  }
  return embeddings;
}

/** w_f of pair f. */
function frequency(pair: number, hidden: number): number {
  return LOWEST_FREQUENCY ** (-pair / (positionWidth(hidden) / 2));
}

function positionEmbeddings({ hidden, positions, positionOffset = 0 }: WarmStartOptions): Float32Array {
  const width = positionWidth(hidden);
  const embeddings = new Float32Array(positions * hidden);
  for (let position = 0; position + positionOffset < positions; position++) {
    const at = (position + positionOffset + 1) * hidden - width;
    for (let pair = 0; pair < width / 2; pair++) {
      const angle = position * frequency(pair, hidden);
      embeddings[at + 2 * pair] = POSITION_AMPLITUDE * Math.cos(angle);
      embeddings[at + 2 * pair + 1] = POSITION_AMPLITUDE * Math.sin(angle);
    }
  }
  return embeddings;
}

/** Adds to a projection [out, in]: rows of head h read the pairs, in the query turned by d_h·w_f. */
function addPositionReader(
  data: Float32Array,
  {
    hidden,
    heads,
    layer,
    projection,
  }: WarmStartOptions & { readonly layer: number; readonly projection: "query" | "key" },
): void {
  const headSize = hidden / heads;
  const width = positionWidth(hidden);
  const offsets = HEAD_OFFSETS[layer % HEAD_OFFSETS.length] ?? HEAD_OFFSETS[0];
  const add = (row: number, column: number, value: number): void => {
    data[row * hidden + column] = (data[row * hidden + column] as number) + HEAD_GAIN * value;
  };
  for (let head = 0; head < heads; head++) {
    const offset = projection === "key" ? 0 : (offsets[head % offsets.length] ?? 0);
    for (let pair = 0; pair < Math.min(headSize, width) / 2; pair++) {
      const turn = offset * frequency(pair, hidden);
      const row = head * headSize + 2 * pair;
      const column = hidden - width + 2 * pair;
      add(row, column, Math.cos(turn));
      add(row, column + 1, -Math.sin(turn));
      add(row + 1, column, Math.sin(turn));
      add(row + 1, column + 1, Math.cos(turn));
    }
  }
}
